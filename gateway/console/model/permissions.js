/** The permission requests of a project that wait for an answer. */

export class Permissions {
    #waiting = new Map();
    /** What was answered while it was read may come after its answer. */
    #answered = new Set();
    #calls;
    #changed;

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

    in(sessionId) {
        return [...this.#waiting.values()].filter((permission) => permission.sessionId === sessionId);
    }

    /** What waits now, and nothing else. */
    async read() {
        // Before it is asked: what comes meanwhile stays.
        this.#waiting.clear();
        this.#answered.clear();
        const { permissions } = await this.#calls.permissions();
        this.learn(permissions);
        this.#changed();
    }

    learn(permissions) {
        for (const permission of permissions) {
            if (!this.#answered.has(permission.id)) this.#waiting.set(permission.id, permission);
        }
    }

    apply({ type, sessionId, turnId, agentId, at, data }) {
        if (type === "permission_request" && !data.resolvedBy) {
            const permission = {
                ...data,
                id: data.permissionId,
                sessionId,
                turnId,
                agentId,
                requestedAt: at,
                state: "waiting",
            };
            this.#waiting.set(permission.id, permission);
            this.#askWhenItExpires(permission);
            this.#changed();
        } else if (type === "permission_resolved") {
            this.#answered.add(data.permissionId);
            if (this.#waiting.delete(data.permissionId)) this.#changed();
        }
    }

    async #askWhenItExpires({ id }) {
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
