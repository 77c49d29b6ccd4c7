/** The permission requests of a project that wait for an answer. */

/** @import { EventOf, LogEvent, WaitingPermission } from "../types.js" */
/** @import { Calls } from "./calls.js" */

export class Permissions {
    /** @type {Map<string, WaitingPermission>} */
    #waiting = new Map();
    /**
     * What was answered while it was read may come after its answer.
     *
     * @type {Set<string>}
     */
    #answered = new Set();
    #calls;
    #changed;

    /**
     * @param {Calls} calls
     * @param {() => void} changed
     */
    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    get count() {
        return this.#waiting.size;
    }

    get first() {
        return this.#waiting.values().next().value ?? null;
    }

    /** @param {string | null} sessionId */
    in(sessionId) {
        return [...this.#waiting.values()].filter((permission) => permission.sessionId === sessionId);
    }

    /** What waits now, and nothing else. */
    async read() {
        // Before it is asked: what comes meanwhile stays.
        this.#waiting.clear();
        this.#answered.clear();
        this.learn(await this.#calls.permissions());
        this.#changed();
    }

    /** @param {WaitingPermission[]} permissions */
    learn(permissions) {
        for (const permission of permissions) {
            if (!this.#answered.has(permission.id)) this.#waiting.set(permission.id, permission);
        }
    }

    /** @param {LogEvent} event */
    apply(event) {
        if (event.type === "permission_request" && !event.data.resolvedBy) {
            this.#asked(event);
        } else if (event.type === "permission_resolved") {
            const { permissionId } = event.data;
            this.#answered.add(permissionId);
            if (this.#waiting.delete(permissionId)) this.#changed();
        }
    }

    /** @param {EventOf<"permission_request">} event */
    #asked({ sessionId, turnId, agentId, at, data: { permissionId: id, ...asked } }) {
        if (sessionId === null) return;
        const whose = { id, sessionId, turnId, agentId };
        this.#waiting.set(id, { ...asked, ...whose, state: "waiting", optionId: null, requestedAt: at });
        this.#askWhenItExpires(id);
        this.#changed();
    }

    /** @param {string} id */
    async #askWhenItExpires(id) {
        try {
            const { expiresAt } = await this.#calls.permission(id);
            const permission = this.#waiting.get(id);
            if (!permission) return;
            permission.expiresAt = expiresAt;
            this.#changed();
        } catch {
            // It is shown without its end.
        }
    }
}
