// OpenCode's own SDK on an event stream: `node listen_sdk.mjs CLIENT URL [DIRECTORY]`, where CLIENT is its module with
// createOpencodeClient. A line of JSON for each event that it gives; it ends when the SDK takes the stream for over.
import { pathToFileURL } from 'node:url'

const [module, baseUrl, directory] = process.argv.slice(2)
const { createOpencodeClient } = await import(pathToFileURL(module))
const client = createOpencodeClient({ baseUrl, ...(directory ? { directory } : {}) })
const { stream } = await client.event.subscribe({}, { sseDefaultRetryDelay: 200 })
for await (const event of stream) process.stdout.write(`${JSON.stringify(event)}\n`)
