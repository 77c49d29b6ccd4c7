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
 *         onState: (state, problem) => {},                     // "connecting" "catching-up" "live" "away" "closed"
 *     });
 *     stream.close();
 *
 * `AcpGateway`
 *   call(method, path, body?, {headers, key, wait, signal}?)   the answer's JSON (null for 204); what the gateway
 *       refuses is thrown as a `GatewayProblem`. `key`: an Idempotency-Key (`newKey()` makes one): with it a call whose
 *       answer was lost is sent again. `wait`: seconds for `Prefer: wait`.
 *   events(projectId, {session, cursor, from, onEvent, onReset, onState})   an `EventStream`, open at once.
 *
 * `EventStream`: each event once and in order, through lost connections, restarts, closed lids and fatal closes.
 *   `cursor` is the place after the last event that was given to onEvent, `state` what onState was last told.
 *   - "connecting": the first connection is being made. "catching-up": what came meanwhile is being read.
 *     "live": everything up to now has been read. "away": there is no connection; it is tried again by itself, and
 *     `problem` says why where it is known. "closed": it is not tried again: closed by close(), or the gateway says
 *     that this may not be read (any more): `problem` (401, 403, 404).
 *   - Numbers are checked: a project's events have no holes. Where one is found, the stream is read again from the last
 *     event that was whole; a hole that is still there then is told as a `GatewayProblem` of the code "events_missing".
 *   - A reset (the log was restored, the place is no longer kept) closes the connection until the promise of onReset is
 *     settled; it goes on at the cursor that it gives, or at the log's end as it was.
 *   - A page that shows a token's user (`new AcpGateway({token})`) has a ticket made for each stream, since an
 *     EventSource can send no headers. The token itself is in no URL.
 */

/** All types that a stream brings; an EventSource gives none that it has not been asked for. */
export const EVENT_TYPES = [
    "agent_status", "agent_stopping", "auth_complete", "auth_required", "container_event", "credential_connected",
    "credential_disconnected", "credential_needs_reauth", "credential_renewed", "gap", "heartbeat", "login_ended",
    "permission_request", "permission_resolved", "reset", "session_created", "session_ended", "session_restored",
    "session_update", "turn_cancelling", "turn_ended", "turn_queued", "turn_stalling", "turn_started",
];

/** A stream that says nothing for as long is dead: three heartbeats of 15 s. */
const SILENCE_MS = 45_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** How often a call with a key is sent before its caller hears that there is no connection. */
const ATTEMPTS = 4;

/** What the gateway has refused, or what it could not be asked (`status` 0, code "unreachable"). */
export class GatewayProblem extends Error {
    constructor({ status = 0, code = "unreachable", title = "", detail = "", ...members }) {
        super(detail || title || code);
        this.name = "GatewayProblem";
        Object.assign(this, members, { status, code, title, detail });
    }

    /** Whether asking again changes nothing. */
    get isFinal() {
        return [400, 401, 403, 404].includes(this.status);
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

    constructor({ url = "", token = null } = {}) {
        this.url = url.replace(/\/$/, "");
        /** Whether a stream and a call carry cookies to the gateway although the page is another site's. */
        this.isElsewhere = new URL(this.url || ".", location.href).origin !== location.origin;
        this.#token = token;
    }

    get hasToken() {
        return this.#token !== null;
    }

    async call(method, path, body, { headers = {}, key, wait, signal } = {}) {
        const sent = { Accept: "application/json", ...headers };
        if (body !== undefined) sent["Content-Type"] = "application/json";
        if (key !== undefined) sent["Idempotency-Key"] = `"${key}"`;
        if (wait !== undefined) sent.Prefer = `wait=${wait}`;
        if (this.#token) sent.Authorization = `Bearer ${this.#token}`;
        const request = {
            method, headers: sent, signal, cache: "no-store", credentials: this.isElsewhere ? "include" : "same-origin",
            body: body === undefined ? undefined : JSON.stringify(body),
        };
        const mayRepeat = key !== undefined || method === "GET";
        for (let attempt = 1; ; attempt++) {
            try {
                return await answerOf(await fetch(this.url + path, request));
            } catch (error) {
                if (error instanceof GatewayProblem) throw error;
                if (signal?.aborted) throw error;
                if (!mayRepeat || attempt === ATTEMPTS) throw new GatewayProblem({ detail: "The gateway is away." });
            }
            await pause(delay(attempt));
        }
    }

    events(projectId, options) {
        return new EventStream(this, projectId, options);
    }
}

async function answerOf(response) {
    if (response.status === 204) return null;
    const text = await response.text();
    if (response.ok) return JSON.parse(text);
    let problem = {};
    try {
        problem = JSON.parse(text);
    } catch {
        // Something in between has answered, in a form of its own.
    }
    throw new GatewayProblem({ code: "http_error", title: response.statusText, ...problem, status: response.status });
}

export class EventStream {
    #gateway; #acp; #session; #from; #onEvent; #onReset; #onState;
    #source = null;
    #failures = 0;
    #timer = null;
    #heard = Date.now();
    #head = null;
    /** Where a hole was found last: the second time at one place it is told. */
    #hole = null;
    #wakers = new AbortController();

    constructor(gateway, projectId, { session = null, cursor = null, from = null, onEvent, onReset, onState } = {}) {
        this.#gateway = gateway;
        this.#acp = `/api/projects/${encodeURIComponent(projectId)}/acp`;
        this.#session = session;
        this.#from = from;
        this.#onEvent = onEvent ?? (() => {});
        this.#onReset = onReset ?? (() => {});
        this.#onState = onState ?? (() => {});
        this.cursor = cursor;
        this.state = null;
        const awake = () => this.#lookAfterSleep();
        for (const [target, type] of [[document, "visibilitychange"], [window, "pageshow"], [window, "online"]])
            target.addEventListener(type, awake, { signal: this.#wakers.signal });
        this.#tell("connecting");
        this.#open();
    }

    close() {
        this.#end();
    }

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
        let ticket = null;
        if (this.#gateway.hasToken) {
            try {
                const session = this.#session === null ? {} : { sessionId: this.#session };
                ({ ticket } = await this.#gateway.call("POST", `${this.#acp}/events/ticket`, session));
            } catch (problem) {
                return problem.isFinal ? this.#end(problem) : this.#later(problem);
            }
            if (this.#isClosed) return;
        }
        const source = new EventSource(this.#address(ticket), { withCredentials: this.#gateway.isElsewhere });
        this.#source = source;
        for (const type of EVENT_TYPES)
            source.addEventListener(type, (event) => this.#source === source && this.#take(event));
        source.addEventListener("open", () => this.#source === source && this.#opened());
        source.addEventListener("error", () => this.#source === source && this.#failed(source));
        this.#watch();
    }

    #address(ticket) {
        const query = new URLSearchParams();
        if (this.cursor !== null) query.set("lastEventId", this.cursor);
        else if (this.#from !== null) query.set("from", this.#from);
        if (ticket) query.set("ticket", ticket);
        const path = `${this.#acp}/events` + (this.#session === null ? "" : `/${encodeURIComponent(this.#session)}`);
        return `${this.#gateway.url}${path}?${query}`;
    }

    #drop() {
        clearTimeout(this.#timer);
        this.#source?.close();
        this.#source = null;
    }

    /** Find out where the log ends by now: up to there this is catching up. */
    async #opened() {
        const source = this.#source;
        this.#heard = Date.now();
        this.#head = null;
        this.#tell("catching-up");
        try {
            const page = await this.#gateway.call("GET", `${this.#acp}/session?limit=1&includeEnded=true`);
            this.#head = page.sessions[0]?.cursor ?? "0-0";
        } catch {
            this.#head = "0-0";
        }
        if (this.#source === source) this.#tellWhetherLive();
    }

    #tellWhetherLive() {
        if (this.#head === null || this.cursor === null || isBefore(this.cursor, this.#head)) return;
        this.#tell("live");
    }

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
            this.#onEvent({ ...JSON.parse(event.data), id });
        }
        this.#tellWhetherLive();
    }

    /** Whether events are missing before `id`, which comes `step` after the last one. Then they are read again. */
    #skips(id, step) {
        // A session's stream has numbers of its own session alone, and before the first block nothing is known.
        if (this.#session !== null || this.cursor === null) return false;
        const [epoch, seq] = parts(this.cursor);
        const [newEpoch, newSeq] = parts(id);
        if (newEpoch !== epoch || newSeq <= seq + step) return false;
        if (this.#hole === this.cursor) {
            const detail = `Events after ${this.cursor} are missing; the next one is ${id}.`;
            this.#tell("away", new GatewayProblem({ code: "events_missing", detail }));
            this.#hole = null;
            return false;
        }
        this.#hole = this.cursor;
        this.#open();
        return true;
    }

    async #reset(id, event) {
        this.#drop();
        this.#tell("catching-up");
        let place = null;
        for (let attempt = 1; place === null && !this.#isClosed; attempt++) {
            try {
                place = (await this.#onReset({ ...event, id })) ?? id;
            } catch (problem) {
                if (problem?.isFinal) return this.#end(problem);
                this.#tell("away", problem);
                await pause(delay(attempt));
            }
        }
        if (this.#isClosed) return;
        this.cursor = place;
        this.#open();
    }

    /** A browser comes back by itself, but for an answer that is no event stream: then it gives up for good. */
    #failed(source) {
        if (source.readyState === EventSource.CLOSED) this.#askWhy();
        else this.#tell("away");
    }

    async #askWhy() {
        this.#drop();
        try {
            const session = this.#session === null ? "?limit=1" : `/${encodeURIComponent(this.#session)}`;
            await this.#gateway.call("GET", `${this.#acp}/session${session}`);
        } catch (problem) {
            if (problem.isFinal) return this.#end(problem);
            return this.#later(problem);
        }
        this.#later();
    }

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
        if (document.visibilityState === "hidden" || this.#isClosed) return;
        const isWaiting = this.#source === null && this.state === "away";
        const isDead = this.#source !== null && Date.now() - this.#heard >= SILENCE_MS / 2;
        if (isWaiting || isDead) this.#open();
    }

    #tell(state, problem) {
        if (state === this.state && problem === undefined) return;
        this.state = state;
        this.#onState(state, problem);
    }
}

function parts(cursor) {
    return cursor.split("-").map(Number);
}

function isBefore(one, other) {
    const [epoch, seq] = parts(one);
    const [otherEpoch, otherSeq] = parts(other);
    return epoch < otherEpoch || (epoch === otherEpoch && seq < otherSeq);
}

/** Twice as long each time, and not all clients at once. */
function delay(attempt) {
    return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

function pause(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
