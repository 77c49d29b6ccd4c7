/** What is asked of the gateway for one project. */

const PAGE = 50;
const SNAPSHOT = 40;

export class Calls {
    #api;
    #path;

    constructor(api, projectId) {
        this.#api = api;
        this.#path = `/api/projects/${encodeURIComponent(projectId)}/acp`;
    }

    /** A page of sessions, newest first. */
    sessions({ after = null, withEnded = false, limit = PAGE } = {}) {
        const place = after ? `&after=${encodeURIComponent(after)}` : "";
        return this.#api.get(`${this.#path}/session?limit=${limit}${place}${withEnded ? "&includeEnded=true" : ""}`);
    }

    session(id) {
        return this.#api.get(`${this.#path}/session/${id}`);
    }

    createSession(body) {
        return this.#api.post(`${this.#path}/session`, body);
    }

    rename(sessionId, title) {
        return this.#api.patch(`${this.#path}/session/${sessionId}`, { title });
    }

    end(sessionId) {
        return this.#api.delete(`${this.#path}/session/${sessionId}`);
    }

    snapshot(sessionId) {
        return this.#api.get(`${this.#path}/session/${sessionId}/snapshot?limit=${SNAPSHOT}`);
    }

    /** The page of messages before a place. */
    messagesBefore(sessionId, place) {
        const query = `order=desc&limit=${PAGE}&after=${encodeURIComponent(place)}`;
        return this.#api.get(`${this.#path}/session/${sessionId}/messages?${query}`);
    }

    export(sessionId, format) {
        return this.#api.download(`${this.#path}/session/${sessionId}/export?format=${format}`);
    }

    /** Under the same `key` a prompt is run once, however often it is sent. */
    prompt(sessionId, prompt, key) {
        return this.#api.post(`${this.#path}/session/${sessionId}/prompt`, { prompt, queue: true }, key);
    }

    cancel(sessionId, turnId) {
        return this.#api.post(`${this.#path}/session/${sessionId}/cancel`, turnId ? { turnId } : {});
    }

    turn(sessionId, turnId) {
        return this.#api.get(`${this.#path}/session/${sessionId}/turns/${turnId}`);
    }

    permissions() {
        return this.#api.get(`${this.#path}/permission`);
    }

    permission(id) {
        return this.#api.get(`${this.#path}/permission/${id}`);
    }

    answer(permissionId, optionId) {
        return this.#api.post(`${this.#path}/permission/${permissionId}`, { optionId });
    }

    agents() {
        return this.#api.get(`${this.#path}/agents`);
    }

    spawn(agentId, body = {}) {
        return this.#api.post(`${this.#path}/agents/${encodeURIComponent(agentId)}/spawn`, body);
    }

    stop(agentId) {
        return this.#api.post(`${this.#path}/agents/${encodeURIComponent(agentId)}/stop`);
    }

    /** What is asked of an agent's account. */
    auth(agentId) {
        const path = `${this.#path}/agents/${encodeURIComponent(agentId)}/auth`;
        return {
            status: () => this.#api.get(`${path}/status`),
            start: (body) => this.#api.call("POST", `${path}/start`, body),
            callback: (body) => this.#api.call("POST", `${path}/callback`, body),
            token: (body) => this.#api.call("POST", `${path}/token`, body),
            disconnect: () => this.#api.delete(path),
        };
    }
}
