// The console's folding, for tests: the messages that a client shows. `node fold.mjs`
//
// A line in:  a list of steps, each of them {"snapshot": …}, with which all begins anew, {"event": …}, as streams bring it, or
//             {"page": {"messages": …, "next": …}}, a page of older messages.
// A line out: the messages in the API's own form, oldest first.
import { createInterface } from "node:readline";

import { complete } from "../../gateway/web/console/model/event.js";
import { Transcript } from "../../gateway/web/console/model/transcript.js";

const ROLES = new Set(["user", "assistant", "thought", "tool", "plan"]);

function fold(steps) {
    let transcript = new Transcript();
    for (const { snapshot, event, page } of steps) {
        if (snapshot) transcript = Transcript.fromSnapshot(snapshot);
        else if (event) transcript.apply(complete(event));
        else transcript.addEarlier(page.messages, page.next);
    }
    return transcript.turns
        .flatMap(({ items }) => items)
        .filter(({ kind }) => ROLES.has(kind))
        .sort((a, b) => a.key - b.key)
        .map(message);
}

function message({ key, kind, at, updatedAt, turn, messageId = null, content, toolCall, entries }) {
    const named = messageId === null ? {} : { messageId };
    return { id: String(key), role: kind, turnId: turn.id, at, updatedAt, ...named, content, toolCall, entries };
}

for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(fold(JSON.parse(line)))}\n`);
}
