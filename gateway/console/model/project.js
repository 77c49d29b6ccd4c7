/** A project that is open: its agents, its sessions, what waits for an answer, and the transcripts that were looked at. */

import { isPassing } from "../api.js";
import { Transcript, seqOf } from "./transcript.js";

const PAGE = 50;
const SNAPSHOT = 40;
/** Transcripts that are kept up to date beside the one that is shown. */
const KEPT = 6;
const AGENTS_AGAIN_MS = 250;
const OPEN_AGAIN_MS = 2000;
const REPLAY_MS = 20_000;
/** A stream that is closed once more within this time is not opened again. */
const LISTEN_AGAIN_MS = 5000;

export class Project {
    agents = [];
    agentsAreRead = false;
    agentsStale = false;
    agentsProblem = null;
    defaultAgentId;
    /** By id; in the order of the list once shown with `sessionList`. */
    sessions = new Map();
    moreSessions = null;
    sessionsAreRead = false;
    showsEnded = false;
    /** Permissions that wait for an answer, by id. */
    waiting = new Map();
    /** As the client tells: connecting, catching-up, live, away or closed. */
    streamState = "connecting";
    shownId = null;
    #api;
    #changed;
    #transcripts = new Map();
    #stream = null;
    #opened = null;
    #agentsAgain = null;
    #isClosed = false;
    #listenedAt = 0;

    /** `changed(what)` is called with agents, sessions, stream, permissions, or a transcript. */
    constructor(api, about, changed) {
        this.#api = api;
        this.about = about;
        this.id = about.id;
        this.#changed = changed;
        this.path = `/api/projects/${encodeURIComponent(about.id)}/acp`;
    }

    /** The lists first, then the stream from where they end: what happens in between counts once. */
    open() {
        return (this.#opened = this.#open());
    }

    async #open() {
        while (!this.#isClosed) {
            try {
                return this.#listen(await this.#readLists());
            } catch (problem) {
                if (!isPassing(problem)) throw problem;
                await this.#streamIs("away", problem);
                await new Promise((resolve) => setTimeout(resolve, OPEN_AGAIN_MS));
            }
        }
    }

    close() {
        clearTimeout(this.#agentsAgain);
        this.#isClosed = true;
        this.#stream?.close();
    }

    get mayWork() {
        return this.about.role !== "viewer";
    }

    /** As the list shows them: what happened last first. */
    get sessionList() {
        const shown = [...this.sessions.values()].filter(
            ({ status, id }) => this.showsEnded || status !== "ended" || id === this.shownId,
        );
        return shown.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
    }

    waitingIn(sessionId) {
        return [...this.waiting.values()].filter((permission) => permission.sessionId === sessionId);
    }

    agent(id) {
        return this.agents.find((agent) => agent.id === id);
    }

    transcript(sessionId) {
        return this.#transcripts.get(sessionId)?.transcript;
    }

    /** Show a session: its transcript is read unless it is here and up to date. */
    async show(sessionId) {
        this.shownId = sessionId;
        if (!sessionId) return;
        // A snapshot from before the stream's beginning would miss what came between the two.
        await this.#opened;
        if (!this.#transcripts.has(sessionId)) await this.#read(sessionId);
        const session = this.sessions.get(sessionId);
        if (session) session.isUnseen = false;
        this.#forgetOthers();
        this.#changed("sessions");
    }

    async loadEarlier(sessionId) {
        const transcript = this.transcript(sessionId);
        if (!transcript?.earlier) return;
        const query = `order=desc&limit=${PAGE}&after=${encodeURIComponent(transcript.earlier)}`;
        const page = await this.#api.get(`${this.path}/session/${sessionId}/messages?${query}`);
        transcript.addEarlier(page.messages, page.next);
        this.#changed(transcript);
    }

    async loadMoreSessions() {
        const after = this.moreSessions ? `&after=${encodeURIComponent(this.moreSessions)}` : "";
        const ended = this.showsEnded ? "&includeEnded=true" : "";
        const { sessions, next } = await this.#api.get(`${this.path}/session?limit=${PAGE}${after}${ended}`);
        for (const session of sessions) this.#learn(session);
        this.moreSessions = next;
        this.sessionsAreRead = true;
        this.#changed("sessions");
        return sessions;
    }

    async showEnded(yes) {
        this.showsEnded = yes;
        this.moreSessions = null;
        await this.loadMoreSessions();
    }

    async readAgents() {
        try {
            const { agents, defaultAgentId, stale } = await this.#api.get(`${this.path}/agents`);
            Object.assign(this, { agents, defaultAgentId, agentsStale: stale, agentsProblem: null, agentsAreRead: true });
        } catch (problem) {
            this.agentsProblem = problem;
        }
        this.#changed("agents");
    }

    async createSession(body) {
        const session = await this.#api.post(`${this.path}/session`, body);
        this.#learn(session);
        this.#changed("sessions");
        return session;
    }

    /** Under the same `key` a prompt is run once, however often it is sent. */
    prompt(sessionId, prompt, key) {
        return this.#api.post(`${this.path}/session/${sessionId}/prompt`, { prompt, queue: true }, key);
    }

    cancel(sessionId, turnId) {
        return this.#api.post(`${this.path}/session/${sessionId}/cancel`, turnId ? { turnId } : {});
    }

    async rename(sessionId, title) {
        this.#learn(await this.#api.patch(`${this.path}/session/${sessionId}`, { title }));
        this.#changed("sessions");
    }

    end(sessionId) {
        return this.#api.delete(`${this.path}/session/${sessionId}`);
    }

    answer(permissionId, optionId) {
        return this.#api.post(`${this.path}/permission/${permissionId}`, { optionId });
    }

    turn(sessionId, turnId) {
        return this.#api.get(`${this.path}/session/${sessionId}/turns/${turnId}`);
    }

    /** Read a turn's events again, from its first one: history does not tell when somebody waited for whom. */
    async recall(sessionId, turn) {
        const first = turn.items.find(({ kind }) => kind === "user")?.key;
        if (turn.isWhole || !first) return;
        const [epoch] = this.#stream.cursor.split("-");
        const told = await replay(this.#api.gateway, this.id, sessionId, `${epoch}-${first - 1}`, turn.id);
        if (told) turn.recall(told);
    }

    spawn(agentId, body = {}) {
        return this.#api.post(`${this.path}/agents/${encodeURIComponent(agentId)}/spawn`, body);
    }

    stop(agentId) {
        return this.#api.post(`${this.path}/agents/${encodeURIComponent(agentId)}/stop`);
    }

    /** What is asked of an agent's account. */
    auth(agentId) {
        const path = `${this.path}/agents/${encodeURIComponent(agentId)}/auth`;
        return {
            status: () => this.#api.get(`${path}/status`),
            start: (body) => this.#api.call("POST", `${path}/start`, body),
            callback: (body) => this.#api.call("POST", `${path}/callback`, body),
            token: (body) => this.#api.call("POST", `${path}/token`, body),
            disconnect: () => this.#api.delete(path),
        };
    }

    export(sessionId, format) {
        return this.#api.download(`${this.path}/session/${sessionId}/export?format=${format}`);
    }

    #listen(cursor) {
        if (this.#isClosed) return;
        let isNew = cursor === null;
        this.#stream = this.#api.gateway.events(this.id, {
            cursor,
            onEvent: (event) => this.#apply(complete(event)),
            onReset: (event) => this.#reset(event),
            onState: (state, problem) => {
                this.#streamIs(state, problem);
                // A project without a session tells no place to begin at: what came before the stream is read once more.
                if (isNew && state === "live") {
                    isNew = false;
                    this.#readLists().catch(() => {});
                }
            },
        });
    }

    /** Where the log ended then; null where no session tells. */
    async #readLists() {
        this.sessions.clear();
        this.moreSessions = null;
        const [first] = await this.loadMoreSessions();
        const { permissions } = await this.#api.get(`${this.path}/permission`);
        this.readAgents();
        this.waiting = new Map(permissions.map((permission) => [permission.id, permission]));
        this.#changed("sessions");
        this.#changed("permissions");
        return first?.cursor ?? null;
    }

    async #read(sessionId) {
        const entry = { transcript: null, held: [], problem: null };
        this.#transcripts.set(sessionId, entry);
        try {
            const snapshot = await this.#api.get(`${this.path}/session/${sessionId}/snapshot?limit=${SNAPSHOT}`);
            this.#learn(snapshot.session);
            for (const permission of snapshot.permissions) this.waiting.set(permission.id, permission);
            const transcript = Transcript.fromSnapshot(snapshot);
            for (const event of entry.held) transcript.apply(event);
            entry.transcript = transcript;
            entry.held = null;
            this.#changed(transcript);
        } catch (problem) {
            this.#transcripts.delete(sessionId);
            throw problem;
        }
    }

    #forgetOthers() {
        const shown = this.#transcripts.get(this.shownId);
        this.#transcripts.delete(this.shownId);
        if (shown) this.#transcripts.set(this.shownId, shown);
        for (const id of [...this.#transcripts.keys()].slice(0, -KEPT)) this.#transcripts.delete(id);
    }

    #learn(session) {
        const known = this.sessions.get(session.id);
        const read = { ...session, cursor: seqOf(session.cursor) };
        // An answer may come after events that it does not know yet.
        const isOlder = known && known.cursor > read.cursor;
        this.sessions.set(session.id, isOlder ? { ...read, ...known, title: read.title } : { ...known, ...read });
    }

    async #streamIs(state, problem) {
        this.streamState = state;
        this.streamProblem = problem ?? null;
        this.#changed("stream");
        if (state === "closed" && problem) await this.#listenAgain(problem);
    }

    /** The gateway lets nobody read on who asks so. Asking anything else asks who that is, or says that this is over. */
    async #listenAgain(problem) {
        const place = this.#stream.cursor;
        const isAgain = Date.now() - this.#listenedAt < LISTEN_AGAIN_MS;
        this.#listenedAt = Date.now();
        try {
            await this.#api.get(`${this.path}/session?limit=1`);
            if (!isAgain) return this.#listen(place);
        } catch {
            // What is said then is why the stream was closed.
        }
        this.onOver?.(problem);
    }

    /** The cursor cannot be continued: all that is shown is read again; where to go on from there. */
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

    #apply(event) {
        this.#applyToAgents(event);
        this.#applyToPermissions(event);
        if (event.sessionId) this.#applyToSession(event);
        for (const [id, entry] of this.#transcripts) {
            // What has no session is about the whole project: a gap is everybody's.
            if (event.sessionId && event.sessionId !== id) continue;
            if (!event.sessionId && event.type !== "gap") continue;
            if (entry.held) entry.held.push(event);
            else {
                entry.transcript.apply(event);
                this.#changed(entry.transcript);
            }
        }
    }

    #applyToAgents({ type }) {
        if (!AGENT_NEWS.has(type)) return;
        clearTimeout(this.#agentsAgain);
        this.#agentsAgain = setTimeout(() => this.readAgents(), AGENTS_AGAIN_MS);
    }

    #applyToPermissions({ type, sessionId, turnId, agentId, at, data }) {
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
            this.waiting.set(permission.id, permission);
            this.#askWhenItExpires(permission);
            this.#changed("permissions");
        } else if (type === "permission_resolved" && this.waiting.delete(data.permissionId)) {
            this.#changed("permissions");
        }
    }

    async #askWhenItExpires({ id }) {
        try {
            const { expiresAt } = await this.#api.get(`${this.path}/permission/${id}`);
            const permission = this.waiting.get(id);
            if (!permission) return;
            permission.expiresAt = expiresAt;
            this.#changed("permissions");
        } catch {
            // It is shown without its end.
        }
    }

    #applyToSession(event) {
        const session = this.sessions.get(event.sessionId);
        if (!session) {
            if (event.type === "session_created") this.#created(event);
            return;
        }
        if (event.seq <= session.cursor) return;
        session.cursor = event.seq;
        const change = CHANGES[event.type];
        if (!change) return;
        Object.assign(session, change(session, event), { updatedAt: event.at });
        if (event.type === "turn_ended" && event.sessionId !== this.shownId) session.isUnseen = true;
        this.#changed("sessions");
    }

    #created({ sessionId: id, seq, at, data }) {
        this.sessions.set(id, {
            id,
            ...data,
            projectId: this.id,
            status: "idle",
            turn: null,
            queue: [],
            cursor: seq,
            createdAt: at,
            updatedAt: at,
        });
        this.#changed("sessions");
    }
}

/** A turn from its events; null where they are no longer kept. */
async function replay(gateway, projectId, session, cursor, turnId) {
    const transcript = new Transcript();
    let stream;
    let timer;
    try {
        await new Promise((resolve, reject) => {
            timer = setTimeout(() => reject(new Error("It took too long to read.")), REPLAY_MS);
            stream = gateway.events(projectId, {
                session,
                cursor,
                onEvent: (event) => {
                    transcript.apply(complete(event));
                    if (event.type === "turn_ended" && event.turnId === turnId) resolve();
                },
                onReset: () => resolve(),
                onState: (state, problem) => {
                    if (state === "live") resolve();
                    if (state === "closed" && problem) reject(problem);
                },
            });
        });
    } finally {
        clearTimeout(timer);
        stream?.close();
    }
    return transcript.turnWithId(turnId) ?? null;
}

/** An event with all its members, and its number. */
function complete(event) {
    return { sessionId: null, turnId: null, agentId: null, ...event, seq: seqOf(event.id) };
}

/** After these an agent may be another way than it was. */
const AGENT_NEWS = new Set([
    "agent_status",
    "auth_required",
    "auth_complete",
    "credential_connected",
    "credential_renewed",
    "credential_needs_reauth",
    "credential_disconnected",
    "gap",
]);

/** What an event changes of its session. */
const CHANGES = {
    turn_started: ({ queue }, { turnId, at }) => ({
        status: "running",
        turn: { id: turnId, startedAt: at },
        queue: queue.filter((id) => id !== turnId),
        isCancelling: false,
    }),
    turn_queued: ({ queue }, { turnId }) => ({ queue: [...queue, turnId] }),
    turn_cancelling: ({ turn }, { turnId }) => ({ isCancelling: turn?.id === turnId }),
    turn_ended: ({ status, turn, queue }, { turnId }) =>
        turn?.id === turnId || !turn
            ? {
                  status: status === "ended" ? status : "idle",
                  turn: null,
                  isCancelling: false,
                  queue: queue.filter((id) => id !== turnId),
              }
            : { queue: queue.filter((id) => id !== turnId) },
    session_ended: (_, { at }) => ({ status: "ended", turn: null, queue: [], endedAt: at }),
};
