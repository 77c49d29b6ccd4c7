// npm's eventsource on a stream: `node listen_eventsource.mjs FOLDER URL`, where FOLDER/node_modules has the package.
// A line [id, type, data] for each event; it ends with a status when it gives up.
import { createRequire } from 'node:module'

const { EventSource } = createRequire(`${process.argv[2]}/`)('eventsource')
const TYPES = process.argv.slice(4)

const source = new EventSource(process.argv[3])
const tell = (event) => process.stdout.write(`${JSON.stringify([event.lastEventId, event.type, event.data])}\n`)
for (const type of TYPES) source.addEventListener(type, tell)
source.onerror = (error) => {
  if (source.readyState !== EventSource.CLOSED) return
  console.error(`gave up: ${error.code} ${error.message}`)
  process.exit(1)
}
