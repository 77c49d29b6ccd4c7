/**
 * A session's transcript, from a snapshot and the events behind it. No elements here: what it is, not how it looks.
 *
 * It folds as the gateway does (docs/api.md, "Snapshot"): what is no message there, a permission request or a note, parts no
 * message here either. tests/fixtures/folding.json holds both to it.
 */

import { seqOf } from "./event.js";
import { Open } from "./open.js";
import { Turn } from "./turn.js";
import {
    appendBlock,
    changesOf,
    contentOf,
    entriesOf,
    messageIdOf,
    roleOf,
    toolCallIdOf,
    updateOf,
} from "./updates.js";

/** @import { AskedPermission, EventOf, Item, LogEvent, Message, MessageItem, PermissionItem } from "../types.js" */
/** @import { PlanItem, Snapshot, TextItem, TextRole, ToolItem, Update } from "../types.js" */

export class Transcript {
    /**
     * Oldest first; what belongs to no turn stands in turns without an id.
     *
     * @type {Turn[]}
     */
    turns = [];
    /**
     * Where older messages begin; null where there are none.
     *
     * @type {string | null}
     */
    earlier = null;
    /** @type {Update | null} */
    usage = null;
    #cursor = 0;
    #open = new Open();
    /** @type {Map<string, PermissionItem>} */
    #permissions = new Map();
    /** @type {Set<Item | Turn>} */
    #touched = new Set();

    /**
     * Begin with what the session is at the snapshot's cursor.
     *
     * @param {Snapshot} snapshot
     */
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

    /**
     * Put a page of older messages, newest first, before all others.
     *
     * @param {Message[]} messages
     * @param {string | null} next
     */
    addEarlier(messages, next) {
        for (const message of messages) this.#placeFirst(message);
        this.earlier = next;
    }

    /**
     * Take an event; one that the snapshot knows already changes nothing.
     *
     * @param {LogEvent} event
     */
    apply(event) {
        if (event.seq <= this.#cursor) return;
        this.#cursor = event.seq;
        try {
            this.#fold(event);
        } catch {
            // Of a form that nobody expects: it is kept as it came.
            this.#remark(event, event.data);
        }
    }

    /** @param {string | null} id */
    turnWithId(id) {
        return this.turns.findLast((turn) => turn.id === id);
    }

    /** @param {LogEvent} event */
    #fold(event) {
        switch (event.type) {
            case "turn_started":
                return this.#turnStarted(event);
            case "turn_ended":
                return this.#turnEnded(event);
            case "session_update":
                return this.#update(event);
            case "permission_request":
                return this.#permissionRequest(event);
            case "permission_resolved":
                return this.#permissionResolved(event);
            case "gap":
            case "session_restored":
            case "session_ended":
            case "turn_cancelling":
            case "turn_stalling":
            case "agent_stopping":
            case "auth_required":
            case "auth_complete":
            case "container_event":
                return this.#remark(event, event.data);
        }
    }

    /** @param {EventOf<"turn_started">} event */
    #turnStarted({ turnId, at, seq, data: { prompt } }) {
        const turn = this.#turn(turnId, at);
        turn.begin(at);
        turn.isWhole = true;
        const content = contentOf(prompt);
        this.#add({ key: seq, kind: "user", at, updatedAt: at, messageId: null, content, turn });
        this.#open.close(turnId);
    }

    /** @param {EventOf<"turn_ended">} event */
    #turnEnded(event) {
        this.#open.close(event.turnId);
        const turn = this.#turn(event.turnId, event.at);
        turn.end(event.at, event.data);
        for (const item of turn.items) this.#touched.add(item);
        this.#touched.add(turn);
    }

    /** @param {EventOf<"session_update">} event */
    #update(event) {
        const update = updateOf(event.data);
        if (!update) return;
        const role = roleOf(update);
        if (role) this.#chunk(event, role, update);
        else if (update.sessionUpdate === "tool_call" || update.sessionUpdate === "tool_call_update")
            this.#toolCall(event, update);
        else if (update.sessionUpdate === "plan") this.#plan(event, update);
        else this.#other(event, update);
    }

    /**
     * @param {LogEvent} event
     * @param {TextRole} role
     * @param {Update} update
     */
    #chunk(event, role, update) {
        // An agent echoes the prompt, which stands in turn_started already.
        if (role === "user" && event.turnId) return;
        const messageId = messageIdOf(update);
        /** @param {TextItem} one */
        const fits = (one) => one.kind === role && one.messageId === messageId && one.turn.id === event.turnId;
        let item = this.#open.textThat(fits);
        if (!item) {
            item = { ...this.#begin(event), kind: role, messageId, content: [] };
            this.#add(item);
            this.#open.beginText(item, fits);
        }
        appendBlock(item.content, update.content);
        item.updatedAt = event.at;
        item.turn.heard(event.at);
        this.#touched.add(item);
    }

    /**
     * @param {LogEvent} event
     * @param {Update} update
     */
    #toolCall(event, update) {
        const id = toolCallIdOf(update);
        let item = this.#open.tool(id);
        if (!item) {
            item = { ...this.#begin(event), kind: "tool", id, toolCall: {} };
            this.#add(item);
            this.#open.begin(item, this.earlier !== null);
        }
        item.toolCall = { ...item.toolCall, ...changesOf(update) };
        item.updatedAt = event.at;
        item.turn.called(id, item.toolCall, event.at);
        this.#touched.add(item).add(item.turn);
    }

    /**
     * @param {LogEvent} event
     * @param {Update} update
     */
    #plan(event, update) {
        let item = this.#open.plan(event.turnId);
        if (!item) {
            item = { ...this.#begin(event), kind: "plan", entries: [] };
            this.#add(item);
            this.#open.begin(item, this.#mayHaveEarlierPlan(item.turn));
        }
        item.entries = entriesOf(update);
        item.updatedAt = event.at;
        item.turn.heard(event.at);
        this.#touched.add(item);
    }

    /**
     * @param {LogEvent} event
     * @param {Update} update
     */
    #other(event, update) {
        if (update.sessionUpdate === "usage_update") this.usage = update;
        else if (update.sessionUpdate !== "available_commands_update") this.#remark(event, update);
    }

    /** @param {EventOf<"permission_request">} event */
    #permissionRequest({ turnId, at, seq, data }) {
        // A container that allows by itself tells no outcome afterwards.
        const state = data.resolvedBy === "container" ? "selected" : "waiting";
        this.#ask(turnId, at, { ...data, id: data.permissionId, state }, seq);
    }

    /**
     * @param {string | null} turnId
     * @param {string} at
     * @param {AskedPermission} permission
     * @param {number | string} key
     */
    #ask(turnId, at, permission, key = `permission ${permission.id}`) {
        if (this.#permissions.has(permission.id)) return;
        const turn = this.#turn(turnId, at);
        /** @type {PermissionItem} */
        const item = { key, kind: "permission", at, updatedAt: at, permission, turn };
        this.#permissions.set(permission.id, item);
        this.#add(item);
        if (permission.state === "waiting") turn.asked(permission.id, at);
    }

    /** @param {EventOf<"permission_resolved">} event */
    #permissionResolved(event) {
        const { data } = event;
        const item = this.#permissions.get(data.permissionId);
        this.#turn(event.turnId, event.at).answered(data.permissionId, event.at);
        if (!item) {
            this.#remark(event, data);
            return;
        }
        const { outcome: state, optionId, resolvedBy, rule } = data;
        item.permission = { ...item.permission, state, optionId, resolvedBy, rule };
        item.updatedAt = event.at;
        this.#touched.add(item).add(item.turn);
    }

    /**
     * What is said once, and stays as it was said.
     *
     * @param {LogEvent} event
     * @param {unknown} data
     */
    #remark({ type, turnId, at, seq }, data) {
        const whose = turnId ?? this.turns.findLast(({ isRunning }) => isRunning)?.id ?? null;
        this.#add({ key: seq, kind: "note", type, at, data, turn: this.#turn(whose, at) });
    }

    /**
     * What every message has that an event begins.
     *
     * @param {LogEvent} event
     */
    #begin({ seq: key, turnId, at }) {
        return { key, at, updatedAt: at, turn: this.#turn(turnId, at) };
    }

    /** @param {Item} item */
    #add(item) {
        item.turn.items.push(item);
        this.#touched.add(item).add(item.turn);
    }

    /**
     * @param {string | null} id
     * @param {string | null} at
     */
    #turn(id, at) {
        const last = this.turns.at(-1);
        const known = id === null ? (last?.id === null ? last : null) : this.turnWithId(id);
        if (known) return known;
        const turn = new Turn(id, at);
        this.turns.push(turn);
        this.#touched.add(turn);
        return turn;
    }

    /**
     * Put a message of history behind all others.
     *
     * @param {Message} message
     */
    #placeLast(message) {
        const last = this.turns.at(-1);
        const turn = last?.id === message.turnId ? last : this.#turn(message.turnId, message.at);
        const item = itemOf(message, turn);
        turn.items.push(item);
        this.#tellTurn(item);
        return item;
    }

    /**
     * Put a message of history before all others.
     *
     * @param {Message} message
     */
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

    /**
     * Whether the plan that the next one of a turn replaces may stand further up than was read.
     *
     * @param {Turn} turn
     */
    #mayHaveEarlierPlan(turn) {
        if (this.earlier === null || (turn.id !== null && !turn.isRunning)) return false;
        // What has no turn goes on until a turn begins.
        const turns = turn.id === null ? this.turns.filter(({ id }) => id !== null) : [turn];
        return !turns.some(({ items }) => items.some(({ kind }) => kind === "user"));
    }

    /** @param {MessageItem} item */
    #tellTurn(item) {
        if (item.kind === "tool") {
            const { turn, id, toolCall, at, updatedAt } = item;
            turn.called(id, { ...toolCall, status: null }, at);
            turn.called(id, toolCall, updatedAt);
        }
        this.#touched.add(item).add(item.turn);
    }

    /**
     * The message itself was read, with its place; what was told of it meanwhile counts.
     *
     * @param {ToolItem | PlanItem} standIn
     * @param {MessageItem} item
     */
    #giveWay(standIn, item) {
        if (item.kind === "tool" && standIn.kind === "tool") item.toolCall = { ...item.toolCall, ...standIn.toolCall };
        if (item.kind === "plan" && standIn.kind === "plan") item.entries = standIn.entries;
        item.updatedAt = standIn.updatedAt;
        this.#remove(standIn);
    }

    /**
     * What parted a text stands further up.
     *
     * @param {{ before: TextItem, after: TextItem }} part
     */
    #join({ before, after }) {
        for (const block of after.content) appendBlock(before.content, block);
        before.updatedAt = after.updatedAt;
        this.#remove(after);
        this.#touched.add(before).add(before.turn);
    }

    /** @param {MessageItem} item */
    #remove(item) {
        item.turn.items = item.turn.items.filter((one) => one !== item);
        this.#touched.add(item.turn);
    }
}

/**
 * A message of history as an item of its turn.
 *
 * @param {Message} message
 * @param {Turn} turn
 * @returns {MessageItem}
 */
function itemOf(message, turn) {
    const { at, updatedAt } = message;
    const common = { key: Number(message.id), at, updatedAt, turn };
    switch (message.role) {
        case "tool":
            return { ...common, kind: "tool", id: toolCallIdOf(message.toolCall), toolCall: message.toolCall };
        case "plan":
            return { ...common, kind: "plan", entries: message.entries };
        default:
            return { ...common, kind: message.role, messageId: message.messageId ?? null, content: message.content };
    }
}
