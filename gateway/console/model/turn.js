/** A turn: what was said in it, how it ended, and when somebody waited for somebody. */

const ENDED = new Set(["completed", "failed"]);

export class Turn {
    static #count = 0;
    key = `turn ${(Turn.#count += 1)}`;
    items = [];
    startedAt = null;
    endedAt = null;
    /** null: it runs, or how it ended has not been asked yet. */
    outcome = null;
    stopReason = null;
    failure = null;
    message = null;
    /** Whether all of it came as events, so that it is known who waited when. */
    isWhole = false;
    isRunning = false;
    /** Times at which the agent said something. */
    #heard = [];
    #tools = new Map();
    #permissions = new Map();

    constructor(id, at) {
        this.id = id ?? null;
        this.at = at;
    }

    begin(at) {
        this.startedAt = at;
        this.isRunning = true;
    }

    end(at, { outcome, stopReason, failure, message }) {
        this.endedAt = at;
        this.isRunning = false;
        Object.assign(this, { outcome, stopReason, failure, message });
    }

    /** How it ended, as the API tells of a turn. */
    learn({ state, startedAt, endedAt, ...rest }) {
        if (this.outcome || !endedAt) return;
        this.startedAt = startedAt;
        this.end(endedAt, { ...rest, outcome: state });
    }

    /** Take over when somebody waited for whom, from the same turn as its events tell it. */
    recall(turn) {
        this.#heard = turn.#heard;
        this.#tools = turn.#tools;
        this.#permissions = turn.#permissions;
        this.startedAt ??= turn.startedAt;
        this.isWhole = true;
    }

    heard(at) {
        this.#heard.push(Date.parse(at));
    }

    called(id, { title, kind, status }, at) {
        const known = this.#tools.get(id);
        const to = ENDED.has(status) ? (known?.to ?? Date.parse(at)) : null;
        // Of a call that began further up than was read, the end may be told before the beginning.
        const from = Math.min(known?.from ?? Infinity, Date.parse(at));
        this.#tools.set(id, { from, to, title, kind, status });
    }

    asked(id, at) {
        this.#permissions.set(id, { from: Date.parse(at), to: null });
    }

    answered(id, at) {
        const known = this.#permissions.get(id);
        if (known) known.to = Date.parse(at);
    }

    /** What it is measured by, for a picture of it. */
    get record() {
        return {
            from: this.startedAt && Date.parse(this.startedAt),
            to: this.endedAt && Date.parse(this.endedAt),
            heard: this.#heard,
            tools: [...this.#tools.values()],
            permissions: [...this.#permissions.values()],
        };
    }
}
