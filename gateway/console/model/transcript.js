/**
 * A session's transcript, from a snapshot and the events behind it. No elements here: what it is, not how it looks.
 *
 * It folds as the gateway does (docs/api.md, "Snapshot"): what is no message there, a permission request or a note, parts no
 * message here either. tests/fixtures/folding.json holds both to it.
 */

import { seqOf } from "./event.js";
import { Open, nameOf } from "./open.js";
import { Turn } from "./turn.js";
import { appendBlock, changesOf, contentOf, entriesOf, messageIdOf, roleOf, toolCallIdOf, updateOf } from "./updates.js";

export class Transcript {
    /** Oldest first; what belongs to no turn stands in turns without an id. */
    turns = [];
    /** Where older messages begin; null where there are none. */
    earlier = null;
    usage = null;
    #cursor = 0;
    #open = new Open();
    #permissions = new Map();
    #touched = new Set();

    /** Begin with what the session is at the snapshot's cursor. */
    static fromSnapshot(snapshot) {
        const transcript = new Transcript();
        transcript.#cursor = seqOf(snapshot.cursor);
        const items = snapshot.messages.map((message) => transcript.#placeLast(message));
        transcript.earlier = snapshot.next;
        transcript.#open.resume(items, snapshot.turn?.id ?? null);
        if (snapshot.turn) transcript.#turn(snapshot.turn.id, snapshot.turn.startedAt).begin(snapshot.turn.startedAt);
        for (const permission of snapshot.permissions)
            transcript.#ask(permission.turnId, permission.requestedAt, permission);
        return transcript;
    }

    /** What has changed since it was asked last: items and turns. */
    takeTouched() {
        const touched = this.#touched;
        this.#touched = new Set();
        return touched;
    }

    /** Put a page of older messages, newest first, before all others. */
    addEarlier(messages, next) {
        for (const message of messages) this.#placeFirst(message);
        this.earlier = next;
    }

    /** Take an event; one that the snapshot knows already changes nothing. */
    apply(event) {
        if (event.seq <= this.#cursor) return;
        this.#cursor = event.seq;
        try {
            FOLDS[event.type]?.call(this, event, event.data);
        } catch {
            // Of a form that nobody expects: it is kept as it came.
            this.#remark(event, event.data, event.type);
        }
    }

    turnWithId(id) {
        return this.turns.findLast((turn) => turn.id === id);
    }

    _turnStarted(event, { prompt }) {
        const turn = this.#turn(event.turnId, event.at);
        turn.begin(event.at);
        turn.isWhole = true;
        this.#add(turn, { key: event.seq, kind: "user", at: event.at, updatedAt: event.at, content: contentOf(prompt) });
        this.#open.close(event.turnId);
    }

    _turnEnded(event, data) {
        this.#open.close(event.turnId);
        const turn = this.#turn(event.turnId, event.at);
        turn.end(event.at, data);
        for (const item of turn.items) this.#touched.add(item);
        this.#touched.add(turn);
    }

    _update(event, data) {
        const update = updateOf(data);
        if (!update) return;
        const role = roleOf(update);
        if (role) this.#chunk(event, role, update);
        else if (update.sessionUpdate === "tool_call" || update.sessionUpdate === "tool_call_update")
            this.#toolCall(event, update);
        else if (update.sessionUpdate === "plan") this.#plan(event, update);
        else this.#other(event, update);
    }

    #chunk(event, role, update) {
        // An agent echoes the prompt, which stands in turn_started already.
        if (role === "user" && event.turnId) return;
        const messageId = messageIdOf(update);
        const fits = (one) => one.kind === role && one.messageId === messageId && one.turn.id === event.turnId;
        let item = this.#open.textThat(fits);
        if (!item) {
            item = { key: event.seq, kind: role, at: event.at, messageId, content: [] };
            this.#add(this.#turn(event.turnId, event.at), item);
            this.#open.beginText(item, fits);
        }
        appendBlock(item.content, update.content);
        item.updatedAt = event.at;
        item.turn.heard(event.at);
        this.#touched.add(item);
    }

    #toolCall(event, update) {
        const id = toolCallIdOf(update);
        const turn = this.#turn(event.turnId, event.at);
        let item = this.#open.get(nameOf({ kind: "tool", id, turn }));
        if (!item) {
            item = { key: event.seq, kind: "tool", id, at: event.at, toolCall: {} };
            this.#add(turn, item);
            this.#open.begin(item, this.earlier !== null);
        }
        item.toolCall = { ...item.toolCall, ...changesOf(update) };
        item.updatedAt = event.at;
        item.turn.called(id, item.toolCall, event.at);
        this.#touched.add(item).add(item.turn);
    }

    #plan(event, update) {
        const turn = this.#turn(event.turnId, event.at);
        let item = this.#open.get(nameOf({ kind: "plan", turn }));
        if (!item) {
            item = { key: event.seq, kind: "plan", at: event.at };
            this.#add(turn, item);
            this.#open.begin(item, this.#mayHaveEarlierPlan(turn));
        }
        item.entries = entriesOf(update);
        item.updatedAt = event.at;
        turn.heard(event.at);
        this.#touched.add(item);
    }

    #other(event, update) {
        if (update.sessionUpdate === "usage_update") this.usage = update;
        else if (update.sessionUpdate !== "available_commands_update") this.#remark(event, update, event.type);
    }

    _permissionRequest(event, data) {
        // A container that allows by itself tells no outcome afterwards.
        const state = data.resolvedBy === "container" ? "selected" : "waiting";
        this.#ask(event.turnId, event.at, { ...data, id: data.permissionId, state }, event.seq);
    }

    #ask(turnId, at, permission, key = `permission ${permission.id}`) {
        if (this.#permissions.has(permission.id)) return;
        const item = { key, kind: "permission", at, updatedAt: at, permission };
        this.#permissions.set(permission.id, item);
        const turn = this.#turn(turnId, at);
        this.#add(turn, item);
        if (permission.state === "waiting") turn.asked(permission.id, at);
    }

    _permissionResolved(event, data) {
        const item = this.#permissions.get(data.permissionId);
        this.#turn(event.turnId, event.at).answered(data.permissionId, event.at);
        if (!item) return this.#remark(event, data, "permission_resolved");
        const { outcome: state, optionId, resolvedBy, rule } = data;
        item.permission = { ...item.permission, state, optionId, resolvedBy, rule };
        item.updatedAt = event.at;
        this.#touched.add(item).add(item.turn);
    }

    _turnQueued() {}

    _note(event, data) {
        this.#remark(event, data, event.type);
    }

    /** What is said once, and stays as it was said. */
    #remark(event, data, type) {
        const turnId = event.turnId ?? this.turns.findLast(({ isRunning }) => isRunning)?.id ?? null;
        this.#add(this.#turn(turnId, event.at), { key: event.seq, kind: "note", type, at: event.at, data });
    }

    #add(turn, item) {
        item.turn = turn;
        turn.items.push(item);
        this.#touched.add(item).add(turn);
    }

    #turn(id, at) {
        const last = this.turns.at(-1);
        const known = id === null ? (last?.id === null ? last : null) : this.turnWithId(id);
        return known ?? this.#begin(id, at);
    }

    #begin(id, at) {
        const turn = new Turn(id, at);
        this.turns.push(turn);
        this.#touched.add(turn);
        return turn;
    }

    /** Put a message of history behind all others. */
    #placeLast(message) {
        const last = this.turns.at(-1);
        const turn = last?.id === message.turnId ? last : this.#turn(message.turnId, message.at);
        const item = itemOf(message, turn);
        turn.items.push(item);
        this.#tellTurn(item);
        return item;
    }

    /** Put a message of history before all others. */
    #placeFirst(message) {
        const first = this.turns[0];
        const known = message.turnId === null ? null : this.turnWithId(message.turnId);
        const turn = (first?.id === message.turnId ? first : known) ?? new Turn(message.turnId, message.at);
        // A turn stands where its first message does.
        if (turn !== first) this.turns = [turn, ...this.turns.filter((one) => one !== turn)];
        const item = itemOf(message, turn);
        const isOpen = item.kind === "tool" || (item.kind === "plan" && this.#mayHaveEarlierPlan(turn));
        const { standIn, part } = this.#open.read(item, isOpen);
        turn.items.unshift(item);
        if (standIn) this.#giveWay(standIn, item);
        if (part) this.#join(part);
        this.#tellTurn(item);
    }

    /** Whether the plan that the next one of a turn replaces may stand further up than was read. */
    #mayHaveEarlierPlan(turn) {
        if (this.earlier === null || (turn.id !== null && !turn.isRunning)) return false;
        // What has no turn goes on until a turn begins.
        const turns = turn.id === null ? this.turns.filter(({ id }) => id !== null) : [turn];
        return !turns.some(({ items }) => items.some(({ kind }) => kind === "user"));
    }

    #tellTurn(item) {
        const { turn, kind, id, toolCall, at, updatedAt } = item;
        if (kind === "tool") {
            turn.called(id, { ...toolCall, status: null }, at);
            turn.called(id, toolCall, updatedAt);
        }
        this.#touched.add(item).add(turn);
    }

    /** The message itself was read, with its place; what was told of it meanwhile counts. */
    #giveWay(standIn, item) {
        if (item.kind === "tool") item.toolCall = { ...item.toolCall, ...standIn.toolCall };
        else item.entries = standIn.entries;
        item.updatedAt = standIn.updatedAt;
        this.#remove(standIn);
    }

    /** What parted a text stands further up. */
    #join({ before, after }) {
        for (const block of after.content) appendBlock(before.content, block);
        before.updatedAt = after.updatedAt;
        this.#remove(after);
        this.#touched.add(before).add(before.turn);
    }

    #remove(item) {
        item.turn.items = item.turn.items.filter((one) => one !== item);
        this.#touched.add(item.turn);
    }
}

const FOLDS = {
    turn_started: Transcript.prototype._turnStarted,
    turn_ended: Transcript.prototype._turnEnded,
    turn_queued: Transcript.prototype._turnQueued,
    session_update: Transcript.prototype._update,
    permission_request: Transcript.prototype._permissionRequest,
    permission_resolved: Transcript.prototype._permissionResolved,
};
for (const type of [
    "gap",
    "session_restored",
    "session_ended",
    "turn_cancelling",
    "turn_stalling",
    "agent_stopping",
    "auth_required",
    "auth_complete",
    "container_event",
])
    FOLDS[type] = Transcript.prototype._note;

/** A message of history as an item of its turn. */
function itemOf({ id, role, turnId, messageId = null, ...rest }, turn) {
    const item = { ...rest, key: Number(id), kind: role, messageId, turn };
    if (role === "tool") item.id = toolCallIdOf(item.toolCall);
    return item;
}
