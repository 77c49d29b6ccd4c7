/** What is asked of the gateway for one project. */

import { pointElsewhere } from "./elsewhere.js";

/** @import { AgentList, AuthStatus, Disconnected, LoginBegun, Message, MessagePage } from "../types.js" */
/** @import { Permission, PermissionPage, Project, Session, SessionPage, Snapshot, ToldTurn } from "../types.js" */
/** @import { Api } from "../api.js" */
/** @typedef {ReturnType<Calls["auth"]>} AuthCalls */

const PAGE = 50;
const SNAPSHOT = 40;

export class Calls {
    #api;
    #project;
    #path;

    /**
     * @param {Api} api
     * @param {string} projectId
     */
    constructor(api, projectId) {
        this.#api = api;
        this.#project = `/api/projects/${encodeURIComponent(projectId)}`;
        this.#path = `${this.#project}/acp`;
    }

    /**
     * The project itself.
     *
     * @returns {Promise<Project>}
     */
    project() {
        return this.#api.get(this.#project);
    }

    /**
     * A page of sessions, the last active first.
     *
     * @param {{ after?: string | null, withEnded?: boolean, limit?: number }} which
     * @returns {Promise<SessionPage>}
     */
    sessions({ after = null, withEnded = false, limit = PAGE } = {}) {
        const place = after ? `&after=${encodeURIComponent(after)}` : "";
        return this.#api.get(`${this.#path}/session?limit=${limit}${place}${withEnded ? "&includeEnded=true" : ""}`);
    }

    /**
     * @param {string} id
     * @returns {Promise<Session>}
     */
    session(id) {
        return this.#api.get(`${this.#path}/session/${id}`);
    }

    /**
     * @param {{ agentId?: string, title: string, workingDirectory?: string }} body
     * @returns {Promise<Session>}
     */
    createSession(body) {
        return this.#api.post(`${this.#path}/session`, body);
    }

    /**
     * @param {string} sessionId
     * @param {string} title
     * @returns {Promise<Session>}
     */
    rename(sessionId, title) {
        return this.#api.patch(`${this.#path}/session/${sessionId}`, { title });
    }

    /**
     * @param {string} sessionId
     * @returns {Promise<void>}
     */
    end(sessionId) {
        return this.#api.delete(`${this.#path}/session/${sessionId}`);
    }

    /** @param {string} sessionId */
    async snapshot(sessionId) {
        /** @type {Snapshot} */
        const snapshot = await this.#api.get(`${this.#path}/session/${sessionId}/snapshot?limit=${SNAPSHOT}`);
        this.#point(snapshot.messages);
        return snapshot;
    }

    /**
     * The page of messages before a place.
     *
     * @param {string} sessionId
     * @param {string} place
     */
    async messagesBefore(sessionId, place) {
        const query = `order=desc&limit=${PAGE}&after=${encodeURIComponent(place)}`;
        /** @type {MessagePage} */
        const page = await this.#api.get(`${this.#path}/session/${sessionId}/messages?${query}`);
        this.#point(page.messages);
        return page;
    }

    /**
     * Have large values read once they are to be shown.
     *
     * @param {Message[]} messages
     */
    #point(messages) {
        for (const message of messages) pointElsewhere(message, (url) => this.#api.content(url));
    }

    /**
     * @param {string} sessionId
     * @param {"markdown" | "jsonl"} format
     */
    export(sessionId, format) {
        return this.#api.download(`${this.#path}/session/${sessionId}/export?format=${format}`);
    }

    /**
     * Under the same `key` a prompt is run once, however often it is sent.
     *
     * @param {string} sessionId
     * @param {string} prompt
     * @param {string} key
     * @returns {Promise<void>}
     */
    prompt(sessionId, prompt, key) {
        return this.#api.post(`${this.#path}/session/${sessionId}/prompt`, { prompt, queue: true }, key);
    }

    /**
     * The turn that is named, or the one that runs.
     *
     * @param {string} sessionId
     * @param {string} [turnId]
     * @returns {Promise<void>}
     */
    cancel(sessionId, turnId) {
        return this.#api.post(`${this.#path}/session/${sessionId}/cancel`, turnId ? { turnId } : {});
    }

    /**
     * @param {string} sessionId
     * @param {string} turnId
     * @returns {Promise<ToldTurn>}
     */
    turn(sessionId, turnId) {
        return this.#api.get(`${this.#path}/session/${sessionId}/turns/${turnId}`);
    }

    /** All requests that wait for an answer. */
    async permissions() {
        const found = [];
        /** @type {string | null} */
        let place = null;
        do {
            const after = place === null ? "" : `&after=${encodeURIComponent(place)}`;
            /** @type {PermissionPage} */
            const page = await this.#api.get(`${this.#path}/permission?limit=200${after}`);
            found.push(...page.permissions);
            place = page.next;
        } while (place !== null);
        return found;
    }

    /**
     * @param {string} id
     * @returns {Promise<Permission>}
     */
    permission(id) {
        return this.#api.get(`${this.#path}/permission/${id}`);
    }

    /**
     * @param {string} permissionId
     * @param {unknown} optionId
     * @returns {Promise<void>}
     */
    answer(permissionId, optionId) {
        return this.#api.post(`${this.#path}/permission/${permissionId}`, { optionId });
    }

    /** @returns {Promise<AgentList>} */
    agents() {
        return this.#api.get(`${this.#path}/agents`);
    }

    /**
     * @param {string} agentId
     * @param {{ env?: Record<string, string>, workingDirectory?: string }} body
     * @returns {Promise<void>}
     */
    spawn(agentId, body = {}) {
        return this.#api.post(`${this.#path}/agents/${encodeURIComponent(agentId)}/spawn`, body);
    }

    /**
     * @param {string} agentId
     * @returns {Promise<void>}
     */
    stop(agentId) {
        return this.#api.post(`${this.#path}/agents/${encodeURIComponent(agentId)}/stop`);
    }

    /**
     * What is asked of an agent's account.
     *
     * @param {string} agentId
     */
    auth(agentId) {
        const path = `${this.#path}/agents/${encodeURIComponent(agentId)}/auth`;
        return {
            /** @type {() => Promise<AuthStatus>} */
            status: () => this.#api.get(`${path}/status`),
            /** @type {(body: { flow: string, provider?: string }) => Promise<LoginBegun>} */
            start: (body) => this.#api.call("POST", `${path}/start`, body),
            /** @type {(body: { code: string }) => Promise<AuthStatus>} */
            callback: (body) => this.#api.call("POST", `${path}/callback`, body),
            /** @type {(body: { token: string, tokenType: string, provider?: string }) => Promise<AuthStatus>} */
            token: (body) => this.#api.call("POST", `${path}/token`, body),
            /** @type {() => Promise<Disconnected>} */
            disconnect: () => this.#api.delete(path),
        };
    }
}
