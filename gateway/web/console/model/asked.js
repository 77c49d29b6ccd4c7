/** Permission requests of a transcript: what was asked, and what became of it, whichever of both is read first. */

/** @import { AskedPermission, NoteItem, PermissionItem, ResolvedPermission } from "../types.js" */

export class Asked {
    /**
     * By the request's id; of several with one id the newest.
     *
     * @type {Map<string, PermissionItem>}
     */
    #items = new Map();
    /**
     * Answers whose request stands further up than was read, by its id.
     *
     * @type {Map<string, NoteItem>}
     */
    #orphans = new Map();

    /** @param {string} id */
    get(id) {
        return this.#items.get(id) ?? null;
    }

    /** @param {PermissionItem} item */
    add(item) {
        this.#items.set(item.permission.id, item);
    }

    /** Those that nobody has answered. */
    get open() {
        return [...this.#items.values()].filter(({ permission }) => permission.state === "waiting");
    }

    /**
     * The request that an answer is for; null where it has one already, or was not read.
     *
     * @param {string} id
     */
    waiting(id) {
        const item = this.#items.get(id);
        return item && item.answer === null ? item : null;
    }

    /**
     * @param {string} id
     * @param {NoteItem} note
     */
    orphan(id, note) {
        if (!this.#items.has(id)) this.#orphans.set(id, note);
    }

    /**
     * The answer to a request that was just read, which stands further down.
     *
     * @param {string} id
     */
    takeOrphan(id) {
        const note = this.#orphans.get(id) ?? null;
        this.#orphans.delete(id);
        return note;
    }
}

/**
 * A request as it is shown, with its answer.
 *
 * @param {AskedPermission} permission
 * @param {ResolvedPermission} answer
 * @returns {AskedPermission}
 */
export function settled(permission, { outcome: state, optionId, resolvedBy, rule }) {
    return { ...permission, state, optionId, resolvedBy, rule };
}
