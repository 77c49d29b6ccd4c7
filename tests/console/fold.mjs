// The console's folding, for tests: the messages that a client shows. `node fold.mjs`
//
// A line in:  a list of steps, each of them {"snapshot": …}, with which all begins anew, {"event": …}, as streams bring it, or
//             {"page": {"messages": …, "next": …}}, a page of older messages.
// A line out: the messages in the API's own form, oldest first.
import { createInterface } from "node:readline";

import { complete } from "../../gateway/web/console/model/event.js";
import { Transcript } from "../../gateway/web/console/model/transcript.js";

function fold(steps) {
    let transcript = new Transcript();
    for (const step of steps) {
        if (step.snapshot) transcript = Transcript.fromSnapshot(step.snapshot);
        else if (step.event) transcript.apply(complete(step.event));
        else transcript.addEarlier(step.page.messages, step.page.next);
    }
    return transcript.turns.flatMap(messages).sort((a, b) => a.id - b.id);
}

function messages({ id, items, ending }) {
    const found = items.flatMap((item) => (item.kind === "permission" ? asked(item) : [message(item)]));
    return ending && ending.data.outcome !== "completed"
        ? [...found, event(ending.seq, id, ending.at, "turn_ended", ending.data)]
        : found;
}

function asked({ key, turnId, at, request, answer }) {
    const found = request ? [event(key, turnId, at, "permission_request", request)] : [];
    return answer ? [...found, event(answer.seq, answer.turnId, answer.at, "permission_resolved", answer.data)] : found;
}

function message(item) {
    const { key, kind, at, updatedAt, turn, messageId = null, author = null, content, toolCall, terminal, entries } = item;
    if (kind === "note") {
        const told = event(key, item.turnId, at, item.type, item.data);
        const { filled, through } = item;
        return filled.length ? { ...told, updatedAt, filled, through: String(through) } : told;
    }
    const named = messageId === null ? {} : { messageId };
    const written = author === null ? {} : { author };
    const common = { id: String(key), role: kind, turnId: turn.id, at, updatedAt };
    return { ...common, ...written, ...named, content, toolCall, terminal, entries };
}

function event(seq, turnId, at, type, data) {
    return { id: String(seq), role: "event", turnId, at, updatedAt: at, event: type, data };
}

for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(fold(JSON.parse(line)))}\n`);
}
