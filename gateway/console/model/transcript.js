/**
 * A session's transcript, from a snapshot and the events behind it. No elements here: what it is, not how it looks.
 *
 * It folds as the gateway does: a chunk of text belongs to the last message if that has its role, turn and message id, and
 * else begins one; a tool call's update changes the tool call, a plan the plan of its turn, wherever those stand. What is no
 * message there (a permission request, a note) parts none here either: it would be whole after a reload.
 */

import { seqOf } from "./event.js";
import { Turn } from "./turn.js";

const TEXT_ROLES = { agent_message_chunk: "assistant", agent_thought_chunk: "thought", user_message_chunk: "user" };

export class Transcript {
    /** Oldest first; what belongs to no turn stands in turns without an id. */
    turns = [];
    /** Where older messages begin; null where there are none. */
    earlier = null;
    usage = null;
    commands = [];
    #cursor = 0;
    #text = null;
    #tools = new Map();
    #permissions = new Map();
    #touched = new Set();

    /** Begin with what the session is at the snapshot's cursor. */
    static fromSnapshot(snapshot) {
        const transcript = new Transcript();
        transcript.#cursor = seqOf(snapshot.cursor);
        for (const message of snapshot.messages) transcript.#place(message, (turn, item) => turn.items.push(item));
        transcript.earlier = snapshot.next;
        transcript.#text = openText(transcript.turns);
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
        for (const message of messages) this.#place(message, (turn, item) => turn.items.unshift(item), true);
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
        this.#add(turn, { key: event.seq, kind: "user", at: event.at, updatedAt: event.at, content: joined(prompt) });
        this.#text = null;
    }

    _turnEnded(event, data) {
        this.#text = null;
        const turn = this.#turn(event.turnId, event.at);
        turn.end(event.at, data);
        for (const item of turn.items) this.#touched.add(item);
        this.#touched.add(turn);
    }

    _update(event, { update }) {
        if (update === null || typeof update !== "object") return;
        const role = TEXT_ROLES[update.sessionUpdate];
        if (role) this.#chunk(event, role, update);
        else if (update.sessionUpdate === "tool_call" || update.sessionUpdate === "tool_call_update")
            this.#toolCall(event, update);
        else if (update.sessionUpdate === "plan") this.#plan(event, update);
        else this.#other(event, update);
    }

    #chunk(event, role, { content, messageId = null }) {
        // An agent echoes the prompt, which stands in turn_started already.
        if (role === "user" && event.turnId) return;
        let item = this.#text;
        if (!item || item.kind !== role || item.messageId !== messageId || item.turn.id !== event.turnId) {
            item = { key: event.seq, kind: role, at: event.at, messageId, content: [] };
            this.#add(this.#turn(event.turnId, event.at), item);
            this.#text = item;
        }
        appendBlock(item.content, content);
        item.updatedAt = event.at;
        item.turn.heard(event.at);
        this.#touched.add(item);
    }

    #toolCall(event, update) {
        const id = String(update.toolCallId);
        let item = this.#tools.get(id);
        if (!item) {
            // What changes a call of before may stand further up than was read: until that is, it stands in for it.
            const standsIn = update.sessionUpdate === "tool_call_update" && this.earlier !== null;
            item = { key: event.seq, kind: "tool", at: event.at, toolCall: {}, standsIn };
            this.#tools.set(id, item);
            if (!standsIn) this.#text = null;
            this.#add(this.#turn(event.turnId, event.at), item);
        }
        for (const [name, value] of Object.entries(update)) {
            if (name !== "sessionUpdate" && value !== null && value !== undefined) item.toolCall[name] = value;
        }
        item.updatedAt = event.at;
        item.turn.called(id, item.toolCall, event.at);
        this.#touched.add(item).add(item.turn);
    }

    #plan(event, { entries }) {
        const turn = this.#turn(event.turnId, event.at);
        let item = turn.items.find(({ kind }) => kind === "plan");
        if (!item) {
            item = { key: event.seq, kind: "plan", at: event.at };
            this.#text = null;
            this.#add(turn, item);
        }
        item.entries = Array.isArray(entries) ? entries : [];
        item.updatedAt = event.at;
        turn.heard(event.at);
        this.#touched.add(item);
    }

    #other(event, update) {
        if (update.sessionUpdate === "usage_update") this.usage = update;
        else if (update.sessionUpdate === "available_commands_update") this.commands = update.availableCommands ?? [];
        else this.#remark(event, { ...update, sessionUpdate: undefined }, update.sessionUpdate);
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
        const turnId = event.turnId ?? this.turns.findLast(({ isRunning }) => isRunning)?.id;
        this.#add(this.#turn(turnId, event.at), { key: event.seq, kind: "note", type, at: event.at, data });
    }

    #add(turn, item) {
        item.turn = turn;
        turn.items.push(item);
        this.#touched.add(item).add(turn);
    }

    #turn(id, at) {
        const last = this.turns.at(-1);
        const isNone = (id ?? null) === null;
        const known = isNone ? (last?.id === null ? last : null) : this.turnWithId(id);
        return known ?? this.#begin(id, at);
    }

    #begin(id, at) {
        const turn = new Turn(id, at);
        this.turns.push(turn);
        this.#touched.add(turn);
        return turn;
    }

    /** Put a message of history where it belongs, unless it is here. */
    #place(message, put, before = false) {
        const edge = before ? this.turns[0] : this.turns.at(-1);
        let turn = edge?.id === message.turnId ? edge : message.turnId && this.turnWithId(message.turnId);
        if (!turn) {
            turn = new Turn(message.turnId, message.at);
            if (before) this.turns.unshift(turn);
            else this.turns.push(turn);
        }
        const { id, role, turnId, ...rest } = message;
        const item = { ...rest, key: Number(id), kind: role, messageId: message.messageId ?? null, turn };
        if (turn.items.some(({ key }) => key === item.key)) return;
        if (role === "tool") this.#remember(turn, item);
        put(turn, item);
        this.#touched.add(item).add(turn);
    }

    #remember(turn, item) {
        const id = String(item.toolCall.toolCallId);
        const known = this.#tools.get(id);
        if (known?.standsIn) this.#giveWay(known, item);
        // An agent may use an id again: the call of now is the one that goes on.
        if (!known || known.standsIn || known.key < item.key) this.#tools.set(id, item);
        turn.called(id, { ...item.toolCall, status: null }, item.at);
        turn.called(id, item.toolCall, item.updatedAt);
    }

    /** The call itself was read, with its place; what was told of it meanwhile counts. */
    #giveWay(stub, item) {
        stub.turn.items = stub.turn.items.filter((one) => one !== stub);
        item.toolCall = { ...item.toolCall, ...stub.toolCall };
        if (item.updatedAt < stub.updatedAt) item.updatedAt = stub.updatedAt;
        this.#touched.add(stub.turn);
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

/** The text of a message's blocks, for copying. */
export function textOf(content) {
    return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

function appendBlock(content, block) {
    if (block === null || typeof block !== "object") return;
    const last = content.at(-1);
    if (isPlainText(block) && last && isPlainText(last)) last.text += block.text;
    else content.push({ ...block });
}

function isPlainText(block) {
    return block.type === "text" && typeof block.text === "string" && Object.keys(block).length === 2;
}

function joined(prompt) {
    const content = [];
    for (const block of Array.isArray(prompt) ? prompt : []) appendBlock(content, block);
    return content;
}

function openText(turns) {
    const last = turns.at(-1)?.items.at(-1);
    return last && ["user", "assistant", "thought"].includes(last.kind) ? last : null;
}
