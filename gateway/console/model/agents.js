/** A project's agents, as its container tells of them; read again after what may have changed them. */

const AGAIN_MS = 250;
/** After these an agent may be another way than it was. */
const NEWS = new Set([
    "agent_status",
    "auth_required",
    "auth_complete",
    "credential_connected",
    "credential_renewed",
    "credential_needs_reauth",
    "credential_disconnected",
    "gap",
]);

export class Agents {
    list = [];
    defaultId;
    areRead = false;
    /** The container is away: the list is what it said last. */
    areStale = false;
    /** Why they could not be read. */
    problem = null;
    #calls;
    #changed;
    #again = null;

    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    close() {
        clearTimeout(this.#again);
    }

    get(id) {
        return this.list.find((agent) => agent.id === id);
    }

    async read() {
        try {
            const { agents, defaultAgentId, stale } = await this.#calls.agents();
            Object.assign(this, {
                list: agents,
                defaultId: defaultAgentId,
                areStale: stale,
                problem: null,
                areRead: true,
            });
        } catch (problem) {
            this.problem = problem;
        }
        this.#changed();
    }

    apply({ type }) {
        if (!NEWS.has(type)) return;
        clearTimeout(this.#again);
        this.#again = setTimeout(() => this.read(), AGAIN_MS);
    }
}
