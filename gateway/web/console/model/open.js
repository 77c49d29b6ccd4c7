/**
 * Open messages: those that the next events go on with.
 *
 * Where only the end of a history was read, an event may go on with a message that stands further up. Until that is read,
 * the message that the event begins stands in for it.
 */

/** @import { Item, NamedItem, TerminalItem, TextItem, ToolItem } from "../types.js" */
/** @typedef {{ before: TextItem, after: TextItem | null, standIns: Set<Item> }} Part */

/** @type {Set<unknown>} */
const OVER = new Set(["completed", "failed"]);

/** @param {string} id */
function toolName(id) {
    return `tool ${id}`;
}

/** @param {string} id */
function terminalName(id) {
    return `terminal ${id}`;
}

/** @param {string | null} turnId */
function planName(turnId) {
    return `plan ${turnId ?? ""}`;
}

export class Open {
    /**
     * The last message, if it is a text.
     *
     * @type {TextItem | null}
     */
    #text = null;
    /** @type {Map<string, NamedItem>} */
    #named = new Map();
    /** @type {Map<string, NamedItem>} */
    #standIns = new Map();
    /**
     * Where a stand-in parts a text, which it does not if its message stands further up. `after` is null while nothing has
     * come after it.
     *
     * @type {Part[]}
     */
    #parts = [];

    /**
     * Go on from a session's messages, oldest first; `running` is the turn that runs, or null. Null is the end of a turn.
     *
     * @param {(Item | null)[]} items
     * @param {string | null} running
     */
    resume(items, running) {
        for (const item of items) {
            this.#text = null;
            if (!item || item.kind === "note" || item.kind === "permission") continue;
            const isOpen = item.turn.id === null || item.turn.id === running;
            if (isBeginning(item)) this.#named.delete(planName(null));
            if (item.kind === "tool" || item.kind === "terminal") this.#named.set(nameOf(item), item);
            else if (!isOpen) continue;
            else if (item.kind === "plan") this.#named.set(planName(item.turn.id), item);
            else this.#text = item;
        }
    }

    /** @param {string} id */
    tool(id) {
        const found = this.#named.get(toolName(id));
        return found?.kind === "tool" ? found : null;
    }

    /** @param {string} id */
    terminal(id) {
        const found = this.#named.get(terminalName(id));
        return found?.kind === "terminal" ? found : null;
    }

    /** @param {string | null} turnId */
    plan(turnId) {
        const found = this.#named.get(planName(turnId));
        return found?.kind === "plan" ? found : null;
    }

    /**
     * The text that fits, if it is the last message.
     *
     * @param {(text: TextItem) => boolean} fits
     */
    textThat(fits) {
        return this.#text && fits(this.#text) ? this.#text : null;
    }

    /**
     * `item` is the last message now: a text that goes on with the one before a stand-in where that `fits`.
     *
     * @param {TextItem} item
     * @param {(text: TextItem) => boolean} fits
     */
    beginText(item, fits = () => false) {
        const part = this.#pending;
        if (part && fits(part.before)) part.after = item;
        else this.#drop(part);
        this.#text = item;
    }

    /**
     * `item` is the last message now: a tool call, a terminal or a plan, which may stand in for one further up.
     *
     * @param {NamedItem} item
     * @param {boolean} mayStandIn
     */
    begin(item, mayStandIn) {
        const name = nameOf(item);
        this.#named.set(name, item);
        if (mayStandIn) {
            this.#standIns.set(name, item);
            this.#part(item);
        } else {
            this.#drop(this.#pending);
        }
        this.#text = null;
    }

    /** Something stands behind the last message that is none of these. */
    part() {
        this.#drop(this.#pending);
        this.#text = null;
    }

    /**
     * A turn begins or ends: neither a text nor a plan goes on with one of before.
     *
     * @param {string | null} turnId
     */
    close(turnId) {
        this.part();
        this.#named.delete(planName(turnId));
        this.#named.delete(planName(null));
    }

    /**
     * `item` was read, which stands above all that was read before; `isOpen`: the next event of its name goes on with it.
     *
     * The stand-in that it takes the place of, or null, and the part of a text that joins the one before now, or null.
     *
     * @param {Item} item
     * @param {boolean} isOpen
     */
    read(item, isOpen) {
        if (!isNamed(item)) {
            if (isBeginning(item)) {
                this.#standIns.delete(planName(item.turn.id));
                this.#standIns.delete(planName(null));
            }
            return { standIn: null, part: null };
        }
        const name = nameOf(item);
        const standIn = this.#standIns.get(name) ?? null;
        if (standIn && standIn.kind !== "plan" && isAnother(standIn, item)) {
            // Another one with the same id: what stood in for an earlier one stands for itself, and parts a text.
            this.#standIns.delete(name);
            this.#parts = this.#parts.filter(({ standIns }) => !standIns.has(standIn));
            return { standIn: null, part: null };
        }
        if (isOpen && (this.#named.get(name) ?? standIn) === standIn) this.#named.set(name, item);
        this.#standIns.delete(name);
        return { standIn, part: standIn && this.#join(standIn) };
    }

    /** What nothing has come after yet. */
    get #pending() {
        const last = this.#parts.at(-1);
        return last?.after === null ? last : null;
    }

    /** @param {Part | null} pending */
    #drop(pending) {
        if (pending) this.#parts.pop();
    }

    /** @param {Item} standIn */
    #part(standIn) {
        if (this.#text) this.#parts.push({ before: this.#text, after: null, standIns: new Set([standIn]) });
        else this.#pending?.standIns.add(standIn);
    }

    /** @param {Item} standIn */
    #join(standIn) {
        const part = this.#parts.find(({ standIns }) => standIns.delete(standIn));
        if (!part || part.standIns.size) return null;
        const { before, after } = part;
        this.#parts = this.#parts.filter((one) => one !== part);
        for (const one of this.#parts) if (one.before === after) one.before = before;
        if (this.#text === after) this.#text = before;
        return after && { before, after };
    }
}

/**
 * Whether what stands in is another one than `item`, which was read: not where it was told of what began the other.
 *
 * @param {ToolItem | TerminalItem} standIn
 * @param {NamedItem} item
 */
function isAnother({ isBegun, at, turn }, item) {
    const isTold = item.turn.id === turn.id && item.updatedAt >= at;
    return isBegun && isClosed(item, turn.id) && !isTold;
}

/** @param {NamedItem} item */
function nameOf(item) {
    if (item.kind === "plan") return planName(item.turn.id);
    return item.kind === "tool" ? toolName(item.id) : terminalName(item.id);
}

/**
 * @param {Item} item
 * @returns {item is NamedItem}
 */
export function isNamed(item) {
    return item.kind === "tool" || item.kind === "terminal" || item.kind === "plan";
}

/**
 * Whether an item is the prompt of a turn, before which nothing else of that turn stands.
 *
 * @param {Item} item
 */
function isBeginning({ kind, turn }) {
    return kind === "user" && turn.id !== null;
}

/**
 * Whether what begins in this turn is another one than one with the same id: ids are unique within one answer, at most.
 *
 * @param {NamedItem} item
 * @param {string | null} turnId
 */
export function isClosed(item, turnId) {
    if (item.turn.id !== turnId) return true;
    if (item.kind === "tool") return OVER.has(item.toolCall.status);
    return item.kind === "terminal" && item.terminal.exitStatus !== null;
}
