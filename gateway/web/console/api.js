/** The gateway's API as this page asks it: who asks is asked once, and what was sent is not lost with a gateway. */

import { AcpGateway, GatewayProblem, newKey, problemOf } from "./acp-gateway.js";
import { remember, remembered } from "./keep.js";

/** @import { CallOptions } from "./acp-gateway.js" */

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
    /** @type {string | null} */
    #token;
    /** @type {ReturnType<AskForToken> | null} */
    #asking = null;

    /**
     * `askForToken(reason)` is called where the gateway wants to know who asks; its promise gives a token.
     *
     * @typedef {(reason: string | null) => Promise<{ token: string, keep: boolean }>} AskForToken
     * @param {string} root
     * @param {AskForToken} askForToken
     */
    constructor(root, askForToken) {
        this.#root = root.replace(/\/$/, "");
        this.askForToken = askForToken;
        this.#token = remembered(TOKEN, "sessionStorage") ?? remembered(TOKEN);
        this.gateway = this.#client();
    }

    /** Whether this browser was signed in by a link. */
    get isSignedIn() {
        return this.#token !== null && this.#token === remembered(TOKEN);
    }

    /**
     * Have this browser signed in. Its token is good together with a cookie alone, which no script can read.
     *
     * @param {string} link
     */
    async signIn(link) {
        const anybody = new AcpGateway({ url: this.#root });
        /** @type {{ token: string }} */
        const { token } = await anybody.call("POST", "/api/sign-in", { link });
        this.#token = token;
        this.gateway = this.#client();
        remember(TOKEN, token);
        remember(TOKEN, null, "sessionStorage");
    }

    async signOut() {
        await this.gateway.call("DELETE", "/api/sign-in");
        remember(TOKEN, null);
    }

    /**
     * @template Answer
     * @param {string} path
     * @returns {Promise<Answer>}
     */
    get(path) {
        return this.call("GET", path);
    }

    /**
     * @template Answer
     * @param {string} path
     * @param {object} body
     * @returns {Promise<Answer>}
     */
    patch(path, body) {
        return this.call("PATCH", path, body);
    }

    /**
     * @template Answer
     * @param {string} path
     * @returns {Promise<Answer>}
     */
    delete(path) {
        return this.call("DELETE", path);
    }

    /**
     * Sent again while the gateway is away: under one key, so that it is done once whatever the gateway did of it.
     *
     * @template Answer
     * @param {string} path
     * @param {object} body
     * @returns {Promise<Answer>}
     */
    async post(path, body = {}, key = newKey()) {
        const until = Date.now() + REPEATED_FOR_MS;
        for (let attempt = 0; ; attempt++) {
            try {
                // The headers and not the client's `key`: what a gateway answers may be a reason to send it again, too.
                const headers = { "Idempotency-Key": `"${key}"` };
                return await this.call("POST", path, body, { headers, limit: LIMIT });
            } catch (problem) {
                const seconds = RETRY_SECONDS[attempt];
                if (seconds === undefined || Date.now() > until || !mayBeRepeated(problem)) throw problem;
                await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
            }
        }
    }

    /**
     * @template Answer
     * @param {string} method
     * @param {string} path
     * @param {object} [body]
     * @param {CallOptions} [options]
     * @returns {Promise<Answer>}
     */
    call(method, path, body, options) {
        return this.#identified(() => this.gateway.call(method, path, body, options));
    }

    /**
     * A file of the gateway's, which a link cannot lead to where a token says who asks.
     *
     * @param {string} path
     */
    download(path) {
        return this.#identified(async () => {
            const headers = new Headers(this.#token ? { Authorization: `Bearer ${this.#token}` } : {});
            const answer = await fetch(this.#root + path, { headers, cache: "no-store" }).catch(() => {
                throw new GatewayProblem({ detail: "The gateway is away." });
            });
            if (!answer.ok) throw await problemOf(answer);
            return answer.blob();
        });
    }

    /**
     * A large value of a message, as its reference leads to it.
     *
     * @param {string} url
     */
    content(url) {
        return this.#identified(() => this.gateway.content(url));
    }

    /**
     * Do it as somebody whom the gateway knows.
     *
     * @template Result
     * @param {() => Promise<Result>} work
     * @returns {Promise<Result>}
     */
    async #identified(work) {
        const used = this.#token;
        try {
            return await work();
        } catch (problem) {
            if (!(problem instanceof GatewayProblem) || problem.code !== "unauthenticated") throw problem;
            if (this.#token === used) await this.#ask(problem.message);
            return this.#identified(work);
        }
    }

    /**
     * One question at a time, whoever asks.
     *
     * @param {string} reason
     */
    async #ask(reason) {
        this.#asking ??= this.askForToken(this.#token ? reason : null).finally(() => (this.#asking = null));
        const { token, keep } = await this.#asking;
        this.#token = token;
        this.gateway = this.#client();
        remember(TOKEN, keep ? token : null, "sessionStorage");
        remember(TOKEN, null);
    }

    #client() {
        return new AcpGateway({ url: this.#root, token: this.#token });
    }
}

/**
 * Whether the same call may go through later. A 404 that is not the gateway's own is a proxy's that finds no gateway.
 *
 * @param {unknown} problem
 */
export function isPassing(problem) {
    if (!(problem instanceof GatewayProblem)) return false;
    const { status, code } = problem;
    const isTrouble = status === 0 || status === 429 || status >= 500 || (status === 404 && code === "http_error");
    return isTrouble || code === "idempotency_key_in_use";
}

/** @param {unknown} problem */
function mayBeRepeated(problem) {
    if (!(problem instanceof GatewayProblem)) return false;
    const { status, code } = problem;
    return REPEATED.has(status) || code === "idempotency_key_in_use";
}
