/**
 * A session's transcript, from a snapshot and the events behind it. No elements here: what it is, not how it looks.
 *
 * It folds as the gateway does (docs/api.md, "Snapshot"): tests/fixtures/folding.json holds both to it. A permission request
 * and its answer are two messages there, and one entry here; the end of a turn is the turn's own.
 */

import { Asked, settled } from "./asked.js";
import { seqOf } from "./event.js";
import { filledWith, isInGap } from "./filled.js";
import { Open, isClosed, isNamed } from "./open.js";
import { heardIn, isTerminal, unheard } from "./terminals.js";
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

/** @import { AskedPermission, Ending, EventMessage, EventOf, Item, LogEvent, Message, MessageItem } from "../types.js" */
/** @import { NamedItem, NoteItem, PermissionItem, RequestedPermission, ResolvedPermission } from "../types.js" */
/** @import { Snapshot, TerminalEvent, TextItem, TextRole, Update } from "../types.js" */

/**
 * Kinds of update that tell a session's state, which the newest of them is.
 *
 * @type {Set<unknown>}
 */
const STATES = new Set(["available_commands_update", "config_option_update", "session_info_update", "usage_update"]);

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
    #asked = new Asked();
    /**
     * By their numbers.
     *
     * @type {Map<number, NoteItem>}
     */
    #gaps = new Map();
    /**
     * What belongs in gaps that stand further up than was read.
     *
     * @type {Map<number, EventOf<"history_filled">[]>}
     */
    #held = new Map();
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
        const running = snapshot.turn?.id ?? null;
        const homes = homesOf(snapshot.messages, running);
        const items = snapshot.messages.map((message, index) => transcript.#placeLast(message, homes[index] ?? null));
        transcript.earlier = snapshot.next;
        transcript.#open.resume(items, running);
        if (snapshot.turn) transcript.#turn(snapshot.turn.id, snapshot.turn.startedAt).begin(snapshot.turn.startedAt);
        for (const permission of snapshot.permissions)
            if (!transcript.#asked.waiting(permission.id))
                transcript.#ask(permission.turnId, permission.requestedAt, permission, `permission ${permission.id}`);
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
        const homes = homesOf([...messages].reverse(), this.turns[0]?.id ?? null).reverse();
        messages.forEach((message, index) => this.#placeFirst(message, homes[index] ?? null));
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
        // What has no session is about the whole project: a gap is everybody's.
        if (event.sessionId === null && event.type !== "gap") return;
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
        if (isTerminal(event)) return this.#terminal(event);
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
            case "session_cleared":
                return this.#cleared(event);
            case "history_filled":
                return this.#historyFilled(event);
            case "gap":
            case "session_restored":
            case "session_renamed":
            case "session_ended":
            case "turn_cancelling":
            case "turn_stalling":
            case "agent_stopping":
            case "auth_required":
            case "auth_complete":
            case "container_event":
            case "file_read":
            case "file_written":
                return this.#remark(event, event.data);
        }
    }

    /** @param {EventOf<"turn_started">} event */
    #turnStarted({ turnId, at, seq, data: { prompt, startedBy } }) {
        const turn = this.#turn(turnId, at);
        turn.begin(at);
        turn.isWhole = true;
        const content = contentOf(prompt);
        const author = typeof startedBy === "string" ? startedBy : null;
        this.#add({ key: seq, kind: "user", at, updatedAt: at, messageId: null, author, content, turn });
        this.#open.close(turnId);
    }

    /** @param {EventOf<"turn_ended">} event */
    #turnEnded(event) {
        this.#open.close(event.turnId);
        const turn = this.#turn(event.turnId, event.at);
        turn.end(event.at, event.data, event.seq);
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
        const known = this.#open.tool(id);
        const isBegun = update.sessionUpdate === "tool_call";
        let item = known && isBegun && isClosed(known, event.turnId) ? null : known;
        if (!item) {
            item = { ...this.#begin(event), kind: "tool", id, isBegun, toolCall: {} };
            this.#add(item);
            this.#open.begin(item, !known && this.earlier !== null);
        }
        item.toolCall = { ...item.toolCall, ...changesOf(update) };
        item.updatedAt = event.at;
        item.turn.called(item.key, item.toolCall, event.at);
        this.#touched.add(item).add(item.turn);
    }

    /** @param {TerminalEvent} event */
    #terminal(event) {
        const id = event.data.terminalId;
        const known = this.#open.terminal(id);
        const isBegun = event.type === "terminal_started";
        let item = known && isBegun && isClosed(known, event.turnId) ? null : known;
        if (!item) {
            const mayStandIn = !known && this.earlier !== null;
            const events = mayStandIn ? [] : null;
            item = { ...this.#begin(event), kind: "terminal", id, isBegun, terminal: unheard(id), events };
            this.#add(item);
            this.#open.begin(item, mayStandIn);
        }
        item.terminal = heardIn(item.terminal, event);
        item.events?.push(event);
        item.updatedAt = event.at;
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
        if (typeof update.sessionUpdate === "string" && !STATES.has(update.sessionUpdate))
            this.#remark(event, event.data);
    }

    /** @param {EventOf<"history_filled">} event */
    #historyFilled(event) {
        const update = updateOf(event.data);
        if (!update) return;
        if (!isInGap(update)) {
            if (update.sessionUpdate === "tool_call_update") this.#toolCall(event, update);
            return;
        }
        const item = this.#gaps.get(event.data.gap);
        if (item) this.#fill(item, event);
        else if (this.earlier !== null) this.#held.set(event.data.gap, [...(this.#held.get(event.data.gap) ?? []), event]);
    }

    /**
     * @param {NoteItem} item
     * @param {EventOf<"history_filled">} event
     */
    #fill(item, event) {
        const update = updateOf(event.data);
        if (!update || event.seq <= item.through) return;
        if (Array.isArray(item.filled)) item.filled = filledWith(item.filled, update);
        item.through = event.seq;
        item.updatedAt = event.at;
        this.#touched.add(item).add(item.turn);
    }

    /** @param {EventOf<"permission_request">} event */
    #permissionRequest({ turnId, at, seq, data }) {
        this.#open.part();
        this.#ask(turnId, at, requested(data), seq, data);
    }

    /**
     * @param {string | null} turnId
     * @param {string} at
     * @param {AskedPermission} permission
     * @param {number | string} key
     * @param {RequestedPermission | null} request as its event has it; null where that was not read
     */
    #ask(turnId, at, permission, key, request = null) {
        const turn = this.#turn(turnId, at);
        /** @type {PermissionItem} */
        const item = { key, kind: "permission", at, updatedAt: at, permission, request, answer: null, turnId, turn };
        this.#asked.add(item);
        this.#add(item);
        if (permission.state === "waiting") turn.asked(permission.id, at);
    }

    /** @param {EventOf<"permission_resolved">} event */
    #permissionResolved(event) {
        const { data, seq, at, turnId } = event;
        this.#open.part();
        this.#turn(turnId, at).answered(data.permissionId, at);
        const item = this.#asked.waiting(data.permissionId);
        if (item) this.#answer(item, { seq, at, turnId, data });
        else this.#asked.orphan(data.permissionId, this.#remark(event, data));
    }

    /**
     * @param {PermissionItem} item
     * @param {NonNullable<PermissionItem["answer"]>} answer
     */
    #answer(item, answer) {
        item.answer = answer;
        item.permission = settled(item.permission, answer.data);
        item.updatedAt = answer.at;
        item.turn.answered(item.permission.id, answer.at);
        this.#touched.add(item).add(item.turn);
    }

    /**
     * Nothing of before is shown any more, but for what a snapshot tells beside the messages.
     *
     * @param {EventOf<"session_cleared">} event
     */
    #cleared(event) {
        const running = this.turns.find(({ isRunning }) => isRunning);
        const waiting = this.#asked.open;
        this.turns = [];
        this.earlier = null;
        this.#open = new Open();
        this.#asked = new Asked();
        this.#gaps.clear();
        this.#held.clear();
        if (running) this.#turn(running.id, running.startedAt).begin(running.startedAt);
        this.#remark(event, event.data);
        for (const { permission, turnId, at } of waiting) this.#ask(turnId, at, permission, `permission ${permission.id}`);
    }

    /**
     * What is said once, and stays as it was said.
     *
     * @param {LogEvent} event
     * @param {unknown} data
     */
    #remark({ type, turnId, at, seq }, data) {
        this.#open.part();
        const home = turnId ?? this.turns.findLast(({ isRunning }) => isRunning)?.id ?? null;
        const item = noteOf({ key: seq, type, at, data, turnId, turn: this.#turn(home, at) });
        if (type === "gap") this.#gaps.set(seq, item);
        this.#add(item);
        return item;
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
     * Put a message of history behind all others; the end of a turn is no entry of its own.
     *
     * @param {Message} message
     * @param {string | null} home
     */
    #placeLast(message, home) {
        const last = this.turns.at(-1);
        const turn = last?.id === home ? last : this.#turn(home, message.at);
        if (message.role === "event" && message.event === "permission_resolved") {
            const asked = this.#asked.waiting(answerOf(message).data.permissionId);
            if (asked) {
                this.#answer(asked, answerOf(message));
                return asked;
            }
        }
        const item = this.#itemOf(message, turn);
        if (item) turn.items.push(item);
        this.#tellTurn(item);
        return item;
    }

    /**
     * Put a message of history before all others.
     *
     * @param {Message} message
     * @param {string | null} home
     */
    #placeFirst(message, home) {
        const first = this.turns[0];
        const known = home === null ? null : this.turnWithId(home);
        const turn = (first?.id === home ? first : known) ?? new Turn(home, message.at);
        // A turn stands where its first message does.
        if (turn !== first) this.turns = [turn, ...this.turns.filter((one) => one !== turn)];
        const standIn = message.role === "event" ? this.#askedStandIn(message) : null;
        const item = this.#itemOf(message, turn);
        if (!item) return;
        const isOpen = isNamed(item) && (item.kind !== "plan" || this.#mayHaveEarlierPlan(turn));
        const read = this.#open.read(item, isOpen);
        turn.items.unshift(item);
        if (standIn) this.#remove(standIn);
        if (read.standIn) this.#giveWay(read.standIn, item);
        if (read.part) this.#join(read.part);
        this.#tellTurn(item);
        if (item.kind === "permission") this.#findAnswer(item);
    }

    /**
     * A request that the snapshot has told, in the place of which its message comes now.
     *
     * @param {EventMessage} message
     */
    #askedStandIn({ event, data }) {
        const known = event === "permission_request" ? this.#asked.get(requestOf(data).permissionId) : null;
        return known?.request === null ? known : null;
    }

    /** @param {PermissionItem} item */
    #findAnswer(item) {
        const note = this.#asked.takeOrphan(item.permission.id);
        if (!note) return;
        this.#remove(note);
        const data = /** @type {ResolvedPermission} */ (note.data);
        this.#answer(item, { seq: Number(note.key), at: note.at, turnId: note.turnId, data });
    }

    /**
     * A message of history as an entry of its turn; null for the end of the turn.
     *
     * @param {Message} message
     * @param {Turn} turn
     * @returns {MessageItem | PermissionItem | NoteItem | null}
     */
    #itemOf(message, turn) {
        if (message.role !== "event") return itemOf(message, turn);
        const { event: type, data, at, turnId } = message;
        const key = Number(message.id);
        if (type === "turn_ended") {
            turn.end(at, /** @type {Ending} */ (data), key);
            this.#touched.add(turn);
            return null;
        }
        if (type !== "permission_request") {
            const note = noteOf({ key, type, at, data, turnId, turn });
            if (type === "gap") this.#placeGap(note, message);
            if (type === "permission_resolved") this.#asked.orphan(answerOf(message).data.permissionId, note);
            return note;
        }
        const request = requestOf(data);
        const known = this.#asked.get(request.permissionId);
        /** @type {PermissionItem} */
        const item = {
            ...{ key, kind: "permission", at, updatedAt: at, turnId, turn, request },
            permission: known?.request === null ? known.permission : requested(request),
            answer: known?.request === null ? known.answer : null,
        };
        // Of two with one id the newer one is answered next.
        if (!known || known.request === null || Number(known.key) < key) this.#asked.add(item);
        if (item.permission.state === "waiting") turn.asked(request.permissionId, at);
        return item;
    }

    /**
     * A gap of history, with what was filled in since it was read.
     *
     * @param {NoteItem} item
     * @param {EventMessage} message
     */
    #placeGap(item, { updatedAt, filled = [], through = "0" }) {
        const key = Number(item.key);
        Object.assign(item, { updatedAt, filled, through: Number(through) });
        this.#gaps.set(key, item);
        for (const event of this.#held.get(key) ?? []) this.#fill(item, event);
        this.#held.delete(key);
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

    /** @param {Item | null} item */
    #tellTurn(item) {
        if (!item) return;
        if (item.kind === "tool") {
            const { turn, key, toolCall, at, updatedAt } = item;
            turn.called(key, { ...toolCall, status: null }, at);
            turn.called(key, toolCall, updatedAt);
        }
        this.#touched.add(item).add(item.turn);
    }

    /**
     * The message itself was read, with its place; what was told of it meanwhile counts.
     *
     * @param {NamedItem} standIn
     * @param {Item} item
     */
    #giveWay(standIn, item) {
        if (item.kind === "terminal" && standIn.kind === "terminal")
            for (const event of standIn.events ?? []) item.terminal = heardIn(item.terminal, event);
        if (item.kind === "tool" && standIn.kind === "tool") {
            item.toolCall = { ...item.toolCall, ...standIn.toolCall };
            standIn.turn.uncalled(standIn.key);
        }
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

    /** @param {Item} item */
    #remove(item) {
        item.turn.items = item.turn.items.filter((one) => one !== item);
        this.#touched.add(item.turn);
    }
}

/**
 * A message of history as an item of its turn.
 *
 * @param {Exclude<Message, EventMessage>} message
 * @param {Turn} turn
 * @returns {MessageItem}
 */
function itemOf(message, turn) {
    const { at, updatedAt } = message;
    const common = { key: Number(message.id), at, updatedAt, turn };
    switch (message.role) {
        case "tool":
            return { ...common, kind: "tool", id: toolCallIdOf(message.toolCall), toolCall: message.toolCall };
        case "terminal":
            return { ...common, kind: "terminal", id: message.terminal.terminalId, terminal: message.terminal };
        case "plan":
            return { ...common, kind: "plan", entries: message.entries };
        default: {
            const { role: kind, messageId = null, author = null, content } = message;
            return { ...common, kind, messageId, author, content };
        }
    }
}

/**
 * @param {Omit<NoteItem, "kind" | "updatedAt" | "filled" | "through">} said
 * @returns {NoteItem}
 */
function noteOf(said) {
    return { ...said, kind: "note", updatedAt: said.at, filled: [], through: 0 };
}

/**
 * The turn in which each message is shown: what has none, and stands between two messages of a turn, belongs there.
 *
 * @param {Message[]} messages oldest first
 * @param {string | null} behind the turn that stands behind the last one
 */
function homesOf(messages, behind) {
    const next = messages.map(() => behind);
    for (let index = messages.length - 2; index >= 0; index -= 1)
        next[index] = messages[index + 1]?.turnId ?? next[index + 1] ?? null;
    /** @type {string | null} */
    let before = null;
    return messages.map(({ role, turnId }, index) => {
        before = turnId ?? before;
        return turnId ?? (role === "event" && before === next[index] ? before : null);
    });
}

/**
 * A request as it is shown. A container that allows by itself tells no outcome afterwards.
 *
 * @param {RequestedPermission} request
 * @returns {AskedPermission}
 */
function requested(request) {
    const state = request.resolvedBy === "container" ? "selected" : "waiting";
    return { ...request, id: request.permissionId, state };
}

/**
 * @param {unknown} data
 * @returns {RequestedPermission}
 */
function requestOf(data) {
    return /** @type {RequestedPermission} */ (data);
}

/**
 * @param {EventMessage} message
 * @returns {NonNullable<PermissionItem["answer"]>}
 */
function answerOf({ id, at, turnId, data }) {
    return { seq: Number(id), at, turnId, data: /** @type {ResolvedPermission} */ (data) };
}
