/** A project's agents, as its container tells of them; read again after what may have changed them. */

/** @import { Agent, LogEvent } from "../types.js" */
/** @import { Calls } from "./calls.js" */

const AGAIN_MS = 250;
/** After these an agent may be another way than it was. */
/** @type {Set<LogEvent["type"]>} */
const NEWS = new Set([
    "agent_status",
    "auth_required",
    "auth_complete",
    "credential_connected",
    "credential_renewed",
    "credential_needs_reauth",
    "credential_disconnected",
    "project_changed",
    "gap",
]);

export class Agents {
    /** @type {Agent[]} */
    list = [];
    /** @type {string | null} */
    defaultId = null;
    areRead = false;
    /** The container is away: the list is what it said last. */
    areStale = false;
    /**
     * Why they could not be read.
     *
     * @type {unknown}
     */
    problem = null;
    #calls;
    #changed;
    /** @type {number | undefined} */
    #again;

    /**
     * @param {Calls} calls
     * @param {() => void} changed
     */
    constructor(calls, changed) {
        this.#calls = calls;
        this.#changed = changed;
    }

    close() {
        clearTimeout(this.#again);
    }

    /** @param {string | null} id */
    get(id) {
        return this.list.find((agent) => agent.id === id);
    }

    async read() {
        try {
            const { agents, defaultAgentId, stale } = await this.#calls.agents();
            this.list = agents;
            this.defaultId = defaultAgentId;
            this.areStale = stale;
            this.areRead = true;
            this.problem = null;
        } catch (problem) {
            this.problem = problem;
        }
        this.#changed();
    }

    /** @param {LogEvent} event */
    apply({ type }) {
        if (!NEWS.has(type)) return;
        clearTimeout(this.#again);
        this.#again = setTimeout(() => this.read(), AGAIN_MS);
    }
}
