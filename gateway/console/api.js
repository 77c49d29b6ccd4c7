/** The gateway's API as this page asks it: who asks is asked once, and what was sent is not lost with a gateway. */

import { AcpGateway, GatewayProblem, newKey, problemOf } from "./acp-gateway.js";
import { remember, remembered } from "./keep.js";

export { newKey };

const RETRY_SECONDS = [0.5, 1, 2, 4, 8];
/** There is no answer, or none of the gateway's own: whether it was done is not known. */
const REPEATED = new Set([0, 502, 503]);
const REPEATED_FOR_MS = 120_000;
/** Seconds at a connection that may be dead: under its key the same call can be made at another. */
const LIMIT = 30;
const TOKEN = "token";

export class Api {
    /** The client for who asks now; another one once somebody has said who they are. */
    gateway;
    #root;
    #token = null;
    #asking = null;

    /** `askForToken(reason)` is called where the gateway wants to know who asks; its promise gives a token. */
    constructor(root, askForToken) {
        this.#root = root.replace(/\/$/, "");
        this.askForToken = askForToken;
        this.#identify(remembered(TOKEN, "sessionStorage"));
    }

    get(path) {
        return this.call("GET", path);
    }

    patch(path, body) {
        return this.call("PATCH", path, body);
    }

    delete(path) {
        return this.call("DELETE", path);
    }

    /** Sent again while the gateway is away: under one key, so that it is done once whatever the gateway did of it. */
    async post(path, body = {}, key = newKey()) {
        const until = Date.now() + REPEATED_FOR_MS;
        for (const seconds of [...RETRY_SECONDS, null]) {
            try {
                // The headers and not the client's `key`: what a gateway answers may be a reason to send it again, too.
                const headers = { "Idempotency-Key": `"${key}"` };
                return await this.call("POST", path, body, { headers, limit: LIMIT });
            } catch (problem) {
                if (seconds === null || Date.now() > until || !mayBeRepeated(problem)) throw problem;
                await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
            }
        }
    }

    call(method, path, body, options) {
        return this.#identified(() => this.gateway.call(method, path, body, options));
    }

    /** A file of the gateway's, which a link cannot lead to where a token says who asks. */
    download(path) {
        return this.#identified(async () => {
            const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
            const answer = await fetch(this.#root + path, { headers, cache: "no-store" }).catch(() => {
                throw new GatewayProblem({ detail: "The gateway is away." });
            });
            if (!answer.ok) throw await problemOf(answer);
            return answer.blob();
        });
    }

    /** Do it as somebody whom the gateway knows. */
    async #identified(work) {
        const used = this.#token;
        try {
            return await work();
        } catch (problem) {
            if (problem.code !== "unauthenticated") throw problem;
            if (this.#token === used) await this.#ask(problem.message);
            return this.#identified(work);
        }
    }

    /** One question at a time, whoever asks. */
    async #ask(reason) {
        this.#asking ??= this.askForToken(this.#token ? reason : null).finally(() => (this.#asking = null));
        const { token, keep } = await this.#asking;
        this.#identify(token);
        remember(TOKEN, keep ? token : null, "sessionStorage");
    }

    #identify(token) {
        this.#token = token;
        this.gateway = new AcpGateway({ url: this.#root, token });
    }
}

/** Whether the same call may go through later. A 404 that is not the gateway's own is a proxy's that finds no gateway. */
export function isPassing({ status, code }) {
    const isTrouble = status === 0 || status === 429 || status >= 500 || (status === 404 && code === "http_error");
    return isTrouble || code === "idempotency_key_in_use";
}

function mayBeRepeated({ status, code }) {
    return REPEATED.has(status) || code === "idempotency_key_in_use";
}
