/** A session: its head, transcript, what waits for an answer, and where prompts are written. */

import { GatewayProblem } from "../acp-gateway.js";
import { Keyed, attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { remember, remembered } from "../keep.js";
import { isObject } from "../model/updates.js";
import { addressOf } from "../place.js";
import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";
import { amount, money } from "../text/times.js";
import { Composer } from "./composer.js";
import { confirmed, field, form, openDialog } from "./dialog.js";
import { menu } from "./menu.js";
import { announce, complain, messageOf } from "./notices.js";
import { permissionCard, titleOf } from "./permission.js";
import { StreamBadge } from "./stream.js";
import { TranscriptView } from "./transcript.js";

/** @import { Project } from "../model/project.js" */
/** @import { MenuEntry } from "./menu.js" */
/** @import { Transcript } from "../model/transcript.js" */
/** @import { KnownSession, View, WaitingPermission } from "../types.js" */

const WORDS = { idle: "Idle", running: "Running", ended: "Ended" };
/** @type {Record<string, string>} */
const PERMISSIONS = {
    ask: "asks before it acts",
    "accept-edits": "edits without asking",
    "full-auto": "acts without asking",
    container: "its container allows by itself",
    agent: "decides by itself",
};
const EACH_SECOND_MS = 1000;

export class SessionView {
    #project;
    #id;
    #title = h("h1");
    #about = h("p.session-about");
    #status = h("span.status");
    #usage = h("span.usage");
    /** @type {HTMLElement} */
    #place = h("div.transcript-frame", h("p.plain-page", { role: "status" }, "Loading…"));
    #cards = h("div.cards");
    #asking;
    #dock = h("section.dock", { "aria-label": "Waiting for your answer", hidden: true }, this.#cards);
    #badge = new StreamBadge();
    /** @type {TranscriptView | null} */
    #transcriptView = null;
    /** @type {Composer | null} */
    #composer = null;
    #clock;
    /** @type {Set<string>} */
    #said = new Set();
    #wasRunning = false;
    /** @type {Transcript | null} */
    transcript = null;

    /**
     * @param {Project} project
     * @param {string} id
     */
    constructor(project, id) {
        this.#project = project;
        this.#id = id;
        /** @type {Keyed<WaitingPermission>} */
        this.#asking = new Keyed(this.#cards, (permission) => this.#card(permission));
        const back = h(
            "a.icon-button.back",
            { href: addressOf(project.id), "aria-label": "All sessions" },
            icon("back"),
        );
        this.element = h(
            "div.session",
            h(
                "header.session-head",
                back,
                h("div.session-words", this.#title, this.#about),
                h("div.session-marks", this.#usage, this.#status, this.#badge.element),
                menu("More about this session", () => this.#entries(), "chevron"),
            ),
            this.#place,
            this.#dock,
        );
        this.#clock = setInterval(() => this.permissionsChanged(), EACH_SECOND_MS);
        this.update();
        this.#load();
    }

    close() {
        clearInterval(this.#clock);
        this.#transcriptView?.close();
    }

    async #load() {
        try {
            await this.#project.show(this.#id);
            this.#begin();
        } catch (problem) {
            this.#place.replaceChildren(
                h(
                    "div.plain-page",
                    { role: "alert" },
                    h("h2", isMissing(problem) ? "There is no such session" : "The session could not be read"),
                    h("p", messageOf(problem)),
                    h("button", { type: "button", on: { click: () => this.#load() } }, "Try again"),
                ),
            );
        }
    }

    /** Show a transcript that was read, or read anew. */
    #begin() {
        const transcript = this.#project.transcript(this.#id);
        const session = this.#session;
        if (!transcript || !session || transcript === this.transcript) return;
        this.transcript = transcript;
        this.#transcriptView?.close();
        this.#transcriptView = new TranscriptView(this.#project, session, transcript);
        this.#place.replaceWith(this.#transcriptView.element);
        this.#place = this.#transcriptView.element;
        if (!this.#composer) {
            this.#composer = new Composer(this.#project, session, () => this.toEnd());
            this.element.append(this.#composer.element);
        }
        this.update();
        this.permissionsChanged();
        this.#showUsage();
    }

    get #session() {
        return this.#project.sessions.get(this.#id);
    }

    focusPrompt() {
        this.#composer?.focus();
    }

    focusPermission() {
        this.#cards.querySelector("article")?.focus();
    }

    /** @param {Transcript} transcript */
    transcriptChanged(transcript) {
        if (transcript !== this.transcript) {
            this.#begin();
            return;
        }
        this.#transcriptView?.refresh();
        this.#showUsage();
    }

    toEnd() {
        this.#transcriptView?.toEnd();
    }

    streamChanged() {
        this.#badge.show(this.#project.streamState);
    }

    update() {
        const session = this.#session;
        this.streamChanged();
        if (!session) return;
        text(this.#title, titleFor(session));
        text(this.#about, aboutSession(session, this.#project));
        const asked = this.#project.permissions.in(this.#id).length > 0;
        text(this.#status, asked ? "Waiting for you" : session.isCancelling ? "Stopping" : WORDS[session.status]);
        this.#status.className = `status ${asked ? "asking" : session.status}`;
        this.#composer?.update(session);
        this.#tellOfTurns(session);
    }

    permissionsChanged() {
        const waiting = this.#project.permissions.in(this.#id);
        this.#asking.show(waiting, ({ id }) => id);
        this.#dock.hidden = !waiting.length;
        for (const permission of waiting) {
            if (this.#said.has(permission.id)) continue;
            this.#said.add(permission.id);
            announce(`The agent asks for permission: ${titleOf(permission)}`);
        }
        if (waiting.length || this.#status.classList.contains("asking")) this.update();
    }

    /** @param {KnownSession} session */
    #tellOfTurns({ status }) {
        if (this.#wasRunning && status !== "running") announce("The turn is over.");
        this.#wasRunning = status === "running";
    }

    /**
     * @param {WaitingPermission} permission
     * @returns {View<WaitingPermission>}
     */
    #card(permission) {
        // The agents may be read only after what they ask.
        const agent = () => this.#project.agents.get(permission.agentId)?.name ?? permission.agentId ?? "The agent";
        /**
         * @param {string} id
         * @param {unknown} optionId
         */
        const answer = async (id, optionId) => {
            const hadFocus = this.#dock.contains(document.activeElement);
            await this.#project.calls.answer(id, optionId);
            if (hadFocus) this.#composer?.focus();
        };
        return permissionCard(permission, agent, this.#project.mayWork, answer);
    }

    #showUsage() {
        // History does not tell it: after a reload it is what this tab was told last.
        const key = `usage.${this.#id}`;
        const told = this.transcript?.usage;
        if (told) remember(key, JSON.stringify(told), "sessionStorage");
        const line = usageLine(parsed(remembered(key, "sessionStorage")));
        attribute(this.#usage, "hidden", line === null);
        if (line === null) return;
        text(this.#usage, line);
        attribute(
            this.#usage,
            "title",
            "What the agent's context holds, and what the session has cost, as the agent tells",
        );
    }

    /** @returns {(MenuEntry | false)[]} */
    #entries() {
        const session = this.#session;
        if (!session) return [];
        const mayWork = this.#project.mayWork && session.status !== "ended";
        return [
            mayWork && { label: "Rename…", icon: "pencil", act: () => this.#rename(session) },
            { label: "Save as Markdown", icon: "download", act: () => this.#save("markdown", "md") },
            { label: "Save as JSON lines", icon: "download", act: () => this.#save("jsonl", "jsonl") },
            mayWork && { label: "End session…", icon: "stop", danger: true, act: () => this.#end() },
        ];
    }

    /** @param {KnownSession} session */
    #rename(session) {
        const input = h("input", { name: "title", required: true, maxlength: 200, value: session.title ?? "" });
        openDialog("Rename session", (close) =>
            form("Rename", field("Title", input), async () => {
                await this.#project.sessions.rename(this.#id, input.value.trim());
                close();
            }),
        );
    }

    async #end() {
        const sure = await confirmed(
            "End this session?",
            "It takes no more prompts, and what runs in it stops. Its transcript stays.",
            "End session",
        );
        if (!sure) return;
        try {
            await this.#project.calls.end(this.#id);
        } catch (problem) {
            complain("The session was not ended", problem);
        }
    }

    /**
     * @param {"markdown" | "jsonl"} format
     * @param {string} extension
     */
    async #save(format, extension) {
        try {
            const address = URL.createObjectURL(await this.#project.calls.export(this.#id, format));
            h("a", { href: address, download: `${this.#id}.${extension}` }).click();
            setTimeout(() => URL.revokeObjectURL(address), 60_000);
        } catch (problem) {
            complain("The transcript could not be saved", problem);
        }
    }
}

/** @param {{ title: string | null }} session */
export function titleFor(session) {
    return session.title ? oneLine(session.title, 200) : "Untitled session";
}

/** @param {unknown} problem */
function isMissing(problem) {
    return problem instanceof GatewayProblem && problem.status === 404;
}

/**
 * What this tab remembers, which somebody else may have written.
 *
 * @param {string | null} kept
 * @returns {unknown}
 */
function parsed(kept) {
    try {
        return JSON.parse(kept ?? "null");
    } catch {
        return null;
    }
}

/**
 * What an agent tells of its use, as far as it has the form that ACP gives it; null where nothing of it has.
 *
 * @param {unknown} usage
 */
function usageLine(usage) {
    if (!isObject(usage)) return null;
    const { used, size, cost } = usage;
    const parts = [];
    if (typeof used === "number")
        parts.push(`${amount(used)}${typeof size === "number" ? ` of ${amount(size)}` : ""} tokens`);
    if (isObject(cost) && typeof cost.amount === "number" && typeof cost.currency === "string")
        parts.push(money({ amount: cost.amount, currency: cost.currency }));
    return parts.length ? parts.join(" · ") : null;
}

/**
 * @param {KnownSession} session
 * @param {Project} project
 */
function aboutSession(session, project) {
    const agent = oneLine(project.agents.get(session.agentId)?.name ?? session.agentId, 80);
    const where = session.workingDirectory ? ` in ${oneLine(session.workingDirectory, 200)}` : "";
    const rule = entryOf(PERMISSIONS, session.permissions);
    const mode = session.agentMode ? ` · mode ${oneLine(session.agentMode, 80)}` : "";
    return `${agent}${where}${mode}${rule ? ` · ${rule}` : ""}`;
}
