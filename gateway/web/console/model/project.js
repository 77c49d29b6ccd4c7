/** A project that is open: what was read of it, kept up to date by its event stream. */

import { isPassing } from "../api.js";
import { Agents } from "./agents.js";
import { Calls } from "./calls.js";
import { complete } from "./event.js";
import { Permissions } from "./permissions.js";
import { recall } from "./recall.js";
import { Resting } from "./resting.js";
import { Sessions } from "./sessions.js";
import { Transcripts } from "./transcripts.js";

/** @import { GatewayProblem, EventStream, StreamState } from "../acp-gateway.js" */
/** @import { Api } from "../api.js" */
/** @import { Change, LogEvent, Project as About, ResetEvent } from "../types.js" */
/** @import { Turn } from "./turn.js" */

/**
 * After these the project, or one's role in it, may be another one.
 *
 * @type {Set<LogEvent["type"]>}
 */
const ABOUT = new Set(["project_changed", "member_added", "member_role_changed", "member_removed"]);
const OPEN_AGAIN_MS = 2000;
/** A stream that is closed once more within this time is not opened again. */
const LISTEN_AGAIN_MS = 5000;

export class Project {
    /** @type {StreamState} */
    streamState = "connecting";
    /** @type {string | null} */
    shownId = null;
    /**
     * Called when all was read again, with the reason.
     *
     * @type {((reason: string) => void) | null}
     */
    onReset = null;
    /**
     * Called with what has happened to the project itself.
     *
     * @type {((event: LogEvent) => void) | null}
     */
    onNews = null;
    /**
     * Called when the project can be read no more.
     *
     * @type {((problem: GatewayProblem) => void) | null}
     */
    onOver = null;
    #api;
    #changed;
    #transcripts;
    /** @type {EventStream | null} */
    #stream = null;
    /** @type {Resting | null} */
    #resting = null;
    /** @type {Promise<void> | null} */
    #opened = null;
    #isClosed = false;
    #listenedAt = 0;

    /**
     * `tell(what)` is called with about, agents, sessions, stream, permissions, or a transcript. What goes wrong in it is a
     * view's fault, and keeps what is told here from nobody else.
     *
     * @param {Api} api
     * @param {About} about
     * @param {(what: Change) => void} tell
     */
    constructor(api, about, tell) {
        /** @param {Change} what */
        const changed = (what) => {
            try {
                tell(what);
            } catch (error) {
                reportError(error);
            }
        };
        this.#api = api;
        this.about = about;
        this.id = about.id;
        this.#changed = changed;
        this.calls = new Calls(api, about.id);
        this.agents = new Agents(this.calls, () => changed("agents"));
        this.sessions = new Sessions(this.calls, () => changed("sessions"));
        this.permissions = new Permissions(this.calls, () => changed("permissions"));
        this.#transcripts = new Transcripts(this.calls, changed);
    }

    /** Once; where that has failed, once more. */
    open() {
        this.#opened ??= this.#open().catch((problem) => {
            this.#opened = null;
            throw problem;
        });
        return this.#opened;
    }

    /** The lists first, then the stream from where they end: what happens in between counts once. */
    async #open() {
        this.#listen(await this.#persistently(() => this.#readLists()));
    }

    /**
     * What passes is tried again, and the badge says so.
     *
     * @template Result
     * @param {() => Promise<Result>} work
     */
    async #persistently(work) {
        for (;;) {
            try {
                return await work();
            } catch (problem) {
                if (this.#isClosed || !isPassing(problem)) throw problem;
                this.#streamIs("away");
                await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
            }
        }
    }

    close() {
        this.agents.close();
        this.#isClosed = true;
        this.#resting?.end();
        this.#stream?.close();
    }

    get mayWork() {
        return this.about.role !== "viewer";
    }

    /** @param {string | null} sessionId */
    transcript(sessionId) {
        return this.#transcripts.get(sessionId);
    }

    /**
     * Show a session: its transcript is read unless it is here and up to date.
     *
     * @param {string | null} sessionId
     */
    async show(sessionId) {
        this.shownId = sessionId;
        if (!sessionId) return;
        // A snapshot from before the stream's beginning would miss what came between the two.
        await this.open();
        await this.#transcripts.read(sessionId, ({ session, permissions }) => {
            this.sessions.learn(session);
            this.permissions.learn(permissions);
        });
        this.#transcripts.keep(sessionId);
        this.sessions.markSeen(sessionId);
    }

    /** @param {string} sessionId */
    loadEarlier(sessionId) {
        return this.#transcripts.readEarlier(sessionId);
    }

    /**
     * Read a turn's events again, from its first one.
     *
     * @param {string} sessionId
     * @param {Turn} turn
     */
    async recall(sessionId, turn) {
        const [epoch] = this.#stream?.cursor?.split("-") ?? [];
        if (epoch) await recall(this.#api.gateway, this.id, sessionId, epoch, turn);
    }

    /** @param {string | null} cursor */
    #listen(cursor) {
        if (this.#isClosed) return;
        let isNew = cursor === null;
        this.#stream = this.#api.gateway.events(this.id, {
            cursor,
            onEvent: (event) => this.#apply(complete(event)),
            onReset: (event) => this.#reset(event),
            onState: (state, problem) => {
                this.#streamIs(state, problem);
                this.#resting?.told(state);
                // A project without a session tells no place to begin at: what came before the stream is read once more.
                if (isNew && state === "live") {
                    isNew = false;
                    this.#readLists().catch(() => {});
                }
            },
        });
        this.#resting?.end();
        this.#resting = new Resting(this.#stream);
    }

    /** Where the log ended then; null where no session tells. */
    async #readLists() {
        const [first] = await this.sessions.read();
        await this.permissions.read();
        this.agents.read();
        return first?.cursor ?? null;
    }

    /**
     * @param {StreamState} state
     * @param {GatewayProblem} [problem]
     */
    async #streamIs(state, problem) {
        this.streamState = state;
        this.#changed("stream");
        if (state === "closed" && problem) await this.#listenAgain(problem);
    }

    /**
     * The gateway lets nobody read on who asks so. Asking anything else asks who that is, or says that this is over.
     *
     * @param {GatewayProblem} problem
     */
    async #listenAgain(problem) {
        const place = this.#stream?.cursor ?? null;
        const isAgain = Date.now() - this.#listenedAt < LISTEN_AGAIN_MS;
        this.#listenedAt = Date.now();
        try {
            await this.#persistently(() => this.calls.sessions({ limit: 1 }));
            if (!isAgain) {
                this.#listen(place);
                return;
            }
        } catch {
            // What is said then is why the stream was closed.
        }
        if (!this.#isClosed) this.onOver?.(problem);
    }

    /**
     * The cursor cannot be continued: all that is shown is read again; where to go on from there.
     *
     * @param {ResetEvent} event
     */
    async #reset({ data }) {
        this.#transcripts.clear();
        const place = await this.#readLists();
        try {
            await this.show(this.shownId);
        } catch (problem) {
            // The session that is shown may be none of this log's.
            if (isPassing(problem)) throw problem;
        }
        this.onReset?.(data.reason);
        return place;
    }

    /** @param {LogEvent} event */
    #apply(event) {
        this.agents.apply(event);
        this.permissions.apply(event);
        if (event.sessionId) this.sessions.apply(event, event.sessionId, this.shownId);
        else if (ABOUT.has(event.type)) this.#news(event);
        this.#transcripts.apply(event);
    }

    /** @param {LogEvent} event */
    async #news(event) {
        if (event.type === "project_changed") this.sessions.projectChanged(event.data.settings);
        this.onNews?.(event);
        try {
            // In place: the list of projects has the same.
            Object.assign(this.about, await this.calls.project());
            this.#changed("about");
        } catch {
            // Whoever may not read it any more is told so by the stream.
        }
    }
}
