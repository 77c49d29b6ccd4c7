// npm's eventsource-parser over streams that stand on standard input, as `eventsource` uses it: bytes through a
// streaming TextDecoder. `node oracle.mjs FOLDER`, where FOLDER/node_modules has the package.
//
// A line in:  [chunk, …], each a chunk's bytes in base64.
// A line out: {"events": [[type, id, data], …], "retry": milliseconds}, without what the parser did not say.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const { createParser } = createRequire(`${process.argv[2]}/`)('eventsource-parser')

for await (const line of createInterface({ input: process.stdin })) {
  const events = []
  let retry
  const parser = createParser({
    onEvent: ({ event, id, data }) => events.push([event ?? null, id ?? null, data]),
    onRetry: (milliseconds) => (retry = milliseconds),
  })
  const decoder = new TextDecoder()
  for (const chunk of JSON.parse(line)) parser.feed(decoder.decode(Buffer.from(chunk, 'base64'), { stream: true }))
  process.stdout.write(`${JSON.stringify({ events, retry })}\n`)
}
