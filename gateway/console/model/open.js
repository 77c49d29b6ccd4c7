/**
 * Open messages: those that the next events go on with.
 *
 * Where only the end of a history was read, an event may go on with a message that stands further up. Until that is read,
 * the message that the event begins stands in for it.
 */

const TEXTS = new Set(["user", "assistant", "thought"]);

/** What a tool call or a plan goes on by; null for what nothing goes on with by a name. */
export function nameOf({ kind, id, turn }) {
    if (kind === "tool") return `tool ${id}`;
    return kind === "plan" ? planOf(turn.id) : null;
}

function planOf(turnId) {
    return `plan ${turnId ?? ""}`;
}

export class Open {
    /** The last message, if it is a text. */
    #text = null;
    #named = new Map();
    #standIns = new Map();
    /**
     * Where a stand-in parts a text, which it does not if its message stands further up: `{ before, after, standIns }`.
     * `after` is null while nothing has come after it.
     */
    #parts = [];

    /** Go on from a session's messages, oldest first; `running` is the turn that runs, or null. */
    resume(items, running) {
        for (const item of items) {
            const isOpen = item.turn.id === null || item.turn.id === running;
            if (isBeginning(item)) this.#named.delete(planOf(null));
            if (item.kind === "tool" || (item.kind === "plan" && isOpen)) this.#named.set(nameOf(item), item);
            this.#text = TEXTS.has(item.kind) && isOpen ? item : null;
        }
    }

    /** The tool call or plan of a name. */
    get(name) {
        return this.#named.get(name);
    }

    /** The text that fits, if it is the last message. */
    textThat(fits) {
        return this.#text && fits(this.#text) ? this.#text : null;
    }

    /** `item` is the last message now: a text that goes on with the one before a stand-in where that `fits`. */
    beginText(item, fits = () => false) {
        const part = this.#pending;
        if (part && fits(part.before)) part.after = item;
        else this.#drop(part);
        this.#text = item;
    }

    /** `item` is the last message now: a tool call or a plan, which may stand in for one further up. */
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

    /** A turn begins or ends: neither a text nor a plan goes on with one of before. */
    close(turnId) {
        this.#drop(this.#pending);
        this.#text = null;
        this.#named.delete(planOf(turnId));
        this.#named.delete(planOf(null));
    }

    /**
     * `item` was read, which stands above all that was read before; `isOpen`: the next event of its name goes on with it.
     *
     * The stand-in that it takes the place of, or null, and the part of a text that joins the one before now, or null.
     */
    read(item, isOpen) {
        if (isBeginning(item)) {
            this.#standIns.delete(planOf(item.turn.id));
            this.#standIns.delete(planOf(null));
        }
        const name = nameOf(item);
        const standIn = this.#standIns.get(name) ?? null;
        if (isOpen && (this.#named.get(name) ?? standIn) === standIn) this.#named.set(name, item);
        this.#standIns.delete(name);
        return { standIn, part: standIn && this.#join(standIn) };
    }

    /** What nothing has come after yet. */
    get #pending() {
        const last = this.#parts.at(-1);
        return last?.after === null ? last : null;
    }

    #drop(part) {
        if (part) this.#parts.pop();
    }

    #part(standIn) {
        if (this.#text) this.#parts.push({ before: this.#text, after: null, standIns: new Set([standIn]) });
        else this.#pending?.standIns.add(standIn);
    }

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

/** Whether an item is the prompt of a turn, before which nothing else of that turn stands. */
function isBeginning({ kind, turn }) {
    return kind === "user" && turn.id !== null;
}
