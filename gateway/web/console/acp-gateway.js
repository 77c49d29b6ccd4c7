/**
 * A client of the ACP gateway for browsers: one file, no build, no dependencies.
 *
 *     import { AcpGateway } from "/console/acp-gateway.js";
 *
 *     const gateway = new AcpGateway();                        // this page's own origin; or { url, token }
 *     const session = await gateway.call("POST", "/api/projects/demo/acp/session", { title: "first" });
 *     const stream = gateway.events("demo", {
 *         cursor: session.cursor,                              // or from: "start"; neither: from the log's end on
 *         onEvent: (event) => {},                              // {type, id, sessionId?, turnId?, agentId?, at, data}
 *         onReset: async (event) => (await snapshot()).cursor, // read everything again; where its answer ends
 *         onState: (state, problem) => {},                     // "connecting" "catching-up" "live" "away" "resting" "closed"
 *     });
 *     stream.close();
 *
 * `AcpGateway`
 *   call(method, path, body?, {headers, key, wait, signal, limit}?)   the answer's JSON (null for 204); what the gateway
 *       refuses is thrown as a `GatewayProblem`. `key`: an Idempotency-Key (`newKey()` makes one): with it a call whose
 *       answer was lost is sent again. `wait`: seconds for `Prefer: wait`. `limit`: seconds for the whole answer, besides
 *       those of `wait`; then it is a problem of the code "timeout".
 *   content(url, {signal, limit}?)   the Blob of a large value, of which a message has only a reference.
 *   events(projectId, {session, cursor, from, onEvent, onReset, onState})   an `EventStream`, open at once.
 *
 * `EventStream`: each event once and in order, through lost connections, restarts, closed lids and fatal closes.
 *   `cursor` is the place after the last event that was given to onEvent, `state` what onState was last told.
 *   - "connecting": the first connection is being made. "catching-up": what came meanwhile is being read.
 *     "live": everything up to now has been read. "away": there is no connection, or it brings nothing as the gateway
 *     itself is in trouble; it is tried again by itself, and `problem` says why where it is known. "closed": it is not
 *     tried again: closed by close(), or the gateway itself says that this may not be read (any more): `problem` (401,
 *     403, 404). What a proxy says of its own passes. "resting": after rest(), until wake().
 *   - rest() holds no connection, for a page that nobody looks at; wake() goes on where it was. Over HTTP/1.1 a browser has
 *     six connections to a gateway for all its pages together, and each stream takes one.
 *   - Numbers are checked: a project's events have no holes. Where one is found, the stream is read again from the last
 *     event that was whole. A hole that is still there then is a reset of the reason "events_missing", told before as a
 *     `GatewayProblem` of that code; where onReset gives no cursor, it goes on behind the hole.
 *   - A reset (the log was restored, the place is no longer kept) closes the connection until the promise of onReset is
 *     settled; it goes on at the cursor that it gives, or at the log's end as it was.
 *   - A page that shows a token's user (`new AcpGateway({token})`) has a ticket made for each stream, since an
 *     EventSource can send no headers. The token itself is in no URL.
 */

/** @import { Cursor, EventType, ResetEvent, SaidEvent } from "./types.js" */
/** @typedef {"connecting" | "catching-up" | "live" | "away" | "resting" | "closed"} StreamState */

/**
 * @typedef {object} CallOptions
 * @property {Record<string, string>} [headers]
 * @property {string} [key]
 * @property {number} [wait] Seconds.
 * @property {AbortSignal} [signal]
 * @property {number} [limit] Seconds.
 */

/**
 * @typedef {object} StreamOptions
 * @property {string | null} [session]
 * @property {Cursor | null} [cursor]
 * @property {"start" | null} [from]
 * @property {(event: SaidEvent) => void} [onEvent]
 * @property {(event: ResetEvent) => Promise<Cursor | null | void> | Cursor | null | void} [onReset]
 * @property {(state: StreamState, problem?: GatewayProblem) => void} [onState]
 */

/**
 * All types that a stream brings; an EventSource gives none that it has not been asked for.
 *
 * @type {EventType[]}
 */
export const EVENT_TYPES = [
    "agent_status", "agent_stopping", "auth_complete", "auth_required", "container_event", "credential_connected",
    "credential_disconnected", "credential_needs_reauth", "credential_renewed", "file_read", "file_written", "gap",
    "heartbeat", "history_filled", "login_ended", "member_added", "member_removed", "member_role_changed", "permission_request",
    "permission_resolved", "project_changed", "reset", "session_cleared", "session_created", "session_ended",
    "session_mode", "session_renamed", "session_restored", "session_update", "terminal_ended", "terminal_output",
    "terminal_started", "turn_cancelling", "turn_ended", "turn_queued", "turn_stalling", "turn_started",
];

/** A stream that says nothing for as long is dead: three heartbeats of 15 s. */
const SILENCE_MS = 45_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** How often a call with a key is sent before its caller hears that there is no connection. */
const ATTEMPTS = 4;
/** Seconds for a call: more than the gateway itself gives a container. */
const LIMIT = 75;
/** The same for what a stream asks about itself. */
const OWN_LIMIT = 20;

/**
 * What the gateway has refused; what something in between has said in its place (code "http_error"); what it could not be
 * asked (`status` 0, code "unreachable"), or did not answer in time ("timeout").
 */
export class GatewayProblem extends Error {
    /** @param {{ status?: number, code?: string, title?: string, detail?: string } & Record<string, unknown>} problem */
    constructor({ status = 0, code = "unreachable", title = "", detail = "", ...members }) {
        super(detail || title || code);
        Object.assign(this, members);
        this.name = "GatewayProblem";
        this.status = status;
        this.code = code;
        this.title = title;
        this.detail = detail;
    }

    /** Whether asking again changes nothing: a proxy's 404 passes, the gateway's does not. */
    get isFinal() {
        return this.code !== "http_error" && [400, 401, 403, 404].includes(this.status);
    }
}

/** A key for a call that must be done once, however often it is sent. */
export function newKey() {
    // randomUUID is there in secure contexts alone, and http://localhost is one.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class AcpGateway {
    #token;

    /** @param {{ url?: string, token?: string | null }} options */
    constructor({ url = "", token = null } = {}) {
        this.url = url.replace(/\/$/, "");
        /** Whether a stream and a call carry cookies to the gateway although the page is another site's. */
        this.isElsewhere = new URL(this.url || ".", location.href).origin !== location.origin;
        this.#token = token;
    }

    get hasToken() {
        return this.#token !== null;
    }

    /**
     * @template Answer
     * @param {string} method
     * @param {string} path
     * @param {unknown} [body]
     * @param {CallOptions} options
     * @returns {Promise<Answer>}
     */
    async call(method, path, body, { headers = {}, key, wait, signal, limit = LIMIT } = {}) {
        /** @type {Record<string, string>} */
        const sent = { Accept: "application/json", ...headers };
        if (body !== undefined) sent["Content-Type"] = "application/json";
        if (key !== undefined) sent["Idempotency-Key"] = `"${key}"`;
        if (wait !== undefined) sent.Prefer = `wait=${wait}`;
        if (this.#token) sent.Authorization = `Bearer ${this.#token}`;
        /** @type {RequestInit} */
        const request = {
            method, headers: sent, cache: "no-store", credentials: this.isElsewhere ? "include" : "same-origin",
            body: body === undefined ? undefined : JSON.stringify(body),
        };
        const mayRepeat = key !== undefined || method === "GET";
        return this.#fetch(path, request, answerOf, { mayRepeat, signal, limit: limit + (wait ?? 0) });
    }

    /**
     * A large value that a message has by reference, with the `url` of one of its `references`.
     *
     * @param {string} url
     * @param {{ signal?: AbortSignal, limit?: number }} options
     * @returns {Promise<Blob>}
     */
    content(url, { signal, limit = LIMIT } = {}) {
        /** @type {RequestInit} */
        const request = {
            headers: this.#token ? { Authorization: `Bearer ${this.#token}` } : {},
            credentials: this.isElsewhere ? "include" : "same-origin",
        };
        return this.#fetch(url, request, blobOf, { mayRepeat: true, signal, limit });
    }

    /**
     * @template Answer
     * @param {string} path
     * @param {RequestInit} request
     * @param {(response: Response) => Promise<Answer>} read
     * @param {{ mayRepeat: boolean, signal: AbortSignal | undefined, limit: number }} options
     * @returns {Promise<Answer>}
     */
    async #fetch(path, request, read, { mayRepeat, signal, limit }) {
        for (let attempt = 1; ; attempt++) {
            try {
                /** @param {AbortSignal} ended */
                const work = async (ended) => read(await fetch(this.url + path, { ...request, signal: ended }));
                return await within(limit, signal, work);
            } catch (error) {
                if (error instanceof GatewayProblem) throw error;
                if (signal?.aborted) throw error;
                if (!mayRepeat || attempt === ATTEMPTS) throw new GatewayProblem({ detail: "The gateway is away." });
            }
            await pause(delay(attempt));
        }
    }

    /**
     * @param {string} projectId
     * @param {StreamOptions} [options]
     */
    events(projectId, options) {
        return new EventStream(this, projectId, options);
    }
}

/** @param {Response} response */
async function answerOf(response) {
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? null : JSON.parse(await response.text());
}

/** @param {Response} response */
async function blobOf(response) {
    if (!response.ok) throw await problemOf(response);
    return response.blob();
}

/**
 * What an answer refuses.
 *
 * @param {Response} response
 */
export async function problemOf(response) {
    const text = await response.text();
    let problem = {};
    try {
        problem = JSON.parse(text);
    } catch {
        // Something in between has answered, in a form of its own.
    }
    return new GatewayProblem({ code: "http_error", title: response.statusText, ...problem, status: response.status });
}

/**
 * Do `work(signal)`; a connection that nobody is at the other end of is given up, body and all.
 *
 * @template Result
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @param {(signal: AbortSignal) => Promise<Result>} work
 */
async function within(seconds, signal, work) {
    const limit = new AbortController();
    const detail = `The gateway has not answered within ${seconds} s.`;
    const timer = setTimeout(() => limit.abort(new GatewayProblem({ code: "timeout", detail })), seconds * 1000);
    try {
        return await work(signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
    } finally {
        clearTimeout(timer);
    }
}

export class EventStream {
    #gateway; #acp; #session; #from; #onEvent; #onReset; #onState;
    /** @type {EventSource | null} */
    #source = null;
    /** Raised with each connection and each end of one: what was asked before that counts no more. */
    #generation = 0;
    #failures = 0;
    /** @type {number | undefined} */
    #timer;
    #heard = Date.now();
    /**
     * Where the log ended when the connection was made; null where that is not known.
     *
     * @type {Cursor | null}
     */
    #head = null;
    /**
     * Where a hole was found last: the second time at one place it is told.
     *
     * @type {Cursor | null}
     */
    #hole = null;
    #isResetting = false;
    #wakers = new AbortController();

    /**
     * @param {AcpGateway} gateway
     * @param {string} projectId
     * @param {StreamOptions} options
     */
    constructor(gateway, projectId, { session = null, cursor = null, from = null, onEvent, onReset, onState } = {}) {
        this.#gateway = gateway;
        this.#acp = `/api/projects/${encodeURIComponent(projectId)}/acp`;
        this.#session = session;
        this.#from = from;
        this.#onEvent = onEvent ?? (() => {});
        this.#onReset = onReset ?? (() => {});
        this.#onState = onState ?? (() => {});
        this.cursor = cursor;
        /** @type {StreamState | null} */
        this.state = null;
        const awake = () => this.#lookAfterSleep();
        const options = { signal: this.#wakers.signal };
        document.addEventListener("visibilitychange", awake, options);
        for (const type of ["pageshow", "online"]) window.addEventListener(type, awake, options);
        this.#tell("connecting");
        this.#open();
    }

    close() {
        this.#end();
    }

    rest() {
        if (this.#isClosed || this.#isResetting) return;
        this.#drop();
        this.#tell("resting");
    }

    wake() {
        if (this.state === "resting") this.#open();
    }

    /** @param {GatewayProblem} [problem] */
    #end(problem) {
        this.#drop();
        this.#wakers.abort();
        this.#tell("closed", problem);
    }

    get #isClosed() {
        return this.#wakers.signal.aborted;
    }

    async #open() {
        this.#drop();
        const generation = this.#generation;
        if (this.state === "live") this.#tell("catching-up");
        let ticket = null;
        if (this.#gateway.hasToken) {
            try {
                const session = this.#session === null ? {} : { sessionId: this.#session };
                const options = { limit: OWN_LIMIT };
                /** @type {{ ticket: string }} */
                const made = await this.#gateway.call("POST", `${this.#acp}/events/ticket`, session, options);
                ticket = made.ticket;
            } catch (error) {
                if (generation !== this.#generation) return;
                const problem = problemIn(error);
                if (problem.isFinal) this.#end(problem);
                else this.#later(problem);
                return;
            }
            // A page that wakes up hears so twice, and opens twice: the later one counts.
            if (generation !== this.#generation) return;
        }
        const source = new EventSource(this.#address(ticket), { withCredentials: this.#gateway.isElsewhere });
        this.#source = source;
        for (const type of EVENT_TYPES)
            source.addEventListener(type, (event) => this.#source === source && this.#take(event));
        source.addEventListener("open", () => this.#source === source && this.#opened());
        source.addEventListener("error", () => this.#source === source && this.#failed(source));
        this.#watch();
    }

    /** @param {string | null} ticket */
    #address(ticket) {
        const query = new URLSearchParams();
        if (this.cursor !== null) query.set("lastEventId", this.cursor);
        else if (this.#from !== null) query.set("from", this.#from);
        if (ticket) query.set("ticket", ticket);
        const session = this.#session === null ? "" : `/${encodeURIComponent(this.#session)}`;
        return `${this.#gateway.url}${this.#acp}/events${session}?${query}`;
    }

    #drop() {
        clearTimeout(this.#timer);
        this.#source?.close();
        this.#source = null;
        this.#head = null;
        this.#generation++;
    }

    /** Find out where the log ends by now: up to there this is catching up. */
    async #opened() {
        this.#heard = Date.now();
        this.#head = null;
        const generation = ++this.#generation;
        for (let attempt = 1; generation === this.#generation; attempt++) {
            try {
                const path = `${this.#acp}/session?limit=1&includeEnded=true`;
                /** @type {{ sessions: { cursor: Cursor }[] }} */
                const { sessions } = await this.#gateway.call("GET", path, undefined, { limit: OWN_LIMIT });
                if (generation !== this.#generation) return;
                this.#head = sessions[0]?.cursor ?? "0-0";
                this.#tellWhetherLive();
                return;
            } catch (error) {
                // A stream is answered 200 whatever is the matter: that there is one does not say that it brings anything.
                if (generation === this.#generation) this.#tell("away", problemIn(error));
                await pause(delay(attempt));
            }
        }
    }

    #tellWhetherLive() {
        if (this.#head === null) return;
        this.#tell(this.cursor === null || isBefore(this.cursor, this.#head) ? "catching-up" : "live");
    }

    /** @param {MessageEvent<string>} event */
    #take(event) {
        this.#heard = Date.now();
        this.#failures = 0;
        const id = event.lastEventId;
        if (event.type === "heartbeat") {
            if (this.#skips(id, 0)) return;
            if (this.cursor === null || isBefore(this.cursor, id)) this.cursor = id;
        } else if (event.type === "reset") {
            this.#reset(id, JSON.parse(event.data));
            return;
        } else {
            // A connection that was lost right after this event brings it again.
            if (this.cursor !== null && !isBefore(this.cursor, id)) return;
            if (this.#skips(id, 1)) return;
            this.cursor = id;
            if (this.#head === null) this.#tell("catching-up");
            this.#onEvent({ ...JSON.parse(event.data), id });
        }
        this.#tellWhetherLive();
    }

    /**
     * Whether events are missing before `id`, which comes `step` after the last one. Then they are read again.
     *
     * @param {Cursor} id
     * @param {number} step
     */
    #skips(id, step) {
        // A session's stream has numbers of its own session alone, and before the first block nothing is known.
        if (this.#session !== null || this.cursor === null) return false;
        const [epoch, seq] = parts(this.cursor);
        const [newEpoch, newSeq] = parts(id);
        if (newEpoch !== epoch || newSeq <= seq + step) return false;
        if (this.#hole === this.cursor) this.#miss(id, `${epoch}-${newSeq - step}`);
        else {
            this.#hole = this.cursor;
            this.#open();
        }
        return true;
    }

    /**
     * @param {Cursor} id
     * @param {Cursor} behind
     */
    #miss(id, behind) {
        const detail = `Events after ${this.cursor} are missing; the next one is ${id}.`;
        this.#hole = null;
        this.#tell("catching-up", new GatewayProblem({ code: "events_missing", detail }));
        this.#reset(behind, { type: "reset", at: new Date().toISOString(), data: { reason: "events_missing" } });
    }

    /**
     * @param {Cursor} id
     * @param {Omit<ResetEvent, "id">} event
     */
    async #reset(id, event) {
        this.#drop();
        this.#isResetting = true;
        this.#tell("catching-up");
        let place = null;
        for (let attempt = 1; place === null && !this.#isClosed; attempt++) {
            try {
                place = (await this.#onReset({ ...event, id })) ?? id;
            } catch (error) {
                const problem = problemIn(error);
                if (problem.isFinal) {
                    this.#end(problem);
                    return;
                }
                this.#tell("away", problem);
                await pause(delay(attempt));
            }
        }
        this.#isResetting = false;
        if (this.#isClosed) return;
        this.cursor = place;
        this.#open();
    }

    /**
     * A browser comes back by itself, but for an answer that is no event stream: then it gives up for good.
     *
     * @param {EventSource} source
     */
    #failed(source) {
        this.#head = null;
        this.#generation++;
        this.#tell("away");
        if (source.readyState === EventSource.CLOSED) this.#askWhy();
    }

    async #askWhy() {
        this.#drop();
        const generation = this.#generation;
        let why;
        try {
            const session = this.#session === null ? "?limit=1" : `/${encodeURIComponent(this.#session)}`;
            await this.#gateway.call("GET", `${this.#acp}/session${session}`, undefined, { limit: OWN_LIMIT });
        } catch (error) {
            why = problemIn(error);
        }
        if (generation !== this.#generation) return;
        if (why?.isFinal) this.#end(why);
        else this.#later(why);
    }

    /** @param {GatewayProblem} [problem] */
    #later(problem) {
        if (this.#isClosed) return;
        this.#drop();
        this.#failures++;
        this.#tell("away", problem);
        this.#timer = setTimeout(() => this.#open(), delay(this.#failures));
    }

    #watch() {
        clearTimeout(this.#timer);
        this.#heard = Date.now();
        const look = () => {
            const silent = Date.now() - this.#heard;
            if (silent >= SILENCE_MS) this.#later();
            else this.#timer = setTimeout(look, SILENCE_MS - silent);
        };
        this.#timer = setTimeout(look, SILENCE_MS);
    }

    /** A machine that slept has kept a connection that nobody is at the other end of, and a timer that is far off. */
    #lookAfterSleep() {
        if (document.visibilityState === "hidden" || this.#isClosed || this.#isResetting) return;
        const isWaiting = this.#source === null && this.state === "away";
        const isDead = this.#source !== null && Date.now() - this.#heard >= SILENCE_MS / 2;
        if (isWaiting || isDead) this.#open();
    }

    /**
     * @param {StreamState} state
     * @param {GatewayProblem} [problem]
     */
    #tell(state, problem) {
        if (state === this.state && problem === undefined) return;
        this.state = state;
        this.#onState(state, problem);
    }
}

/**
 * What was thrown, as a problem; onReset may throw anything.
 *
 * @param {unknown} error
 */
function problemIn(error) {
    return error instanceof GatewayProblem
        ? error
        : new GatewayProblem({ code: "page_failed", detail: String(error), cause: error });
}

/**
 * @param {Cursor} cursor
 * @returns {[number, number]}
 */
function parts(cursor) {
    const [epoch, seq] = cursor.split("-");
    return [Number(epoch), Number(seq)];
}

/**
 * @param {Cursor} one
 * @param {Cursor} other
 */
function isBefore(one, other) {
    const [epoch, seq] = parts(one);
    const [otherEpoch, otherSeq] = parts(other);
    return epoch < otherEpoch || (epoch === otherEpoch && seq < otherSeq);
}

/**
 * Twice as long each time, and not all clients at once.
 *
 * @param {number} attempt
 */
function delay(attempt) {
    return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/** @param {number} milliseconds */
function pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
