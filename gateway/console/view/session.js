/** A session: its head, transcript, what waits for an answer, and where prompts are written. */

import { Keyed, attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { remember, remembered } from "../keep.js";
import { addressOf } from "../place.js";
import { oneLine } from "../text/plain.js";
import { amount, money } from "../text/times.js";
import { Composer } from "./composer.js";
import { confirmed, field, form, openDialog } from "./dialog.js";
import { menu } from "./menu.js";
import { announce, complain } from "./notices.js";
import { permissionCard, titleOf } from "./permission.js";
import { StreamBadge } from "./stream.js";
import { TranscriptView } from "./transcript.js";

const WORDS = { idle: "Idle", running: "Running", ended: "Ended" };
const PERMISSIONS = {
    ask: "asks before it acts",
    "accept-edits": "edits without asking",
    "full-auto": "acts without asking",
    container: "its container allows by itself",
};
const EACH_SECOND_MS = 1000;

export class SessionView {
    #project;
    #id;
    #title = h("h1");
    #about = h("p.session-about");
    #status = h("span.status");
    #usage = h("span.usage");
    #place = h("div.transcript-frame", h("p.plain-page", { role: "status" }, "Loading…"));
    #cards = h("div.cards");
    #asking;
    #dock = h("section.dock", { "aria-label": "Waiting for your answer", hidden: true }, this.#cards);
    #badge = new StreamBadge();
    #transcriptView = null;
    #composer = null;
    #clock;
    #said = new Set();
    #wasRunning = null;

    constructor(project, id) {
        this.#project = project;
        this.#id = id;
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
                    h("h2", problem.status === 404 ? "There is no such session" : "The session could not be read"),
                    h("p", problem.message),
                    h("button", { type: "button", on: { click: () => this.#load() } }, "Try again"),
                ),
            );
        }
    }

    /** Show a transcript that was read, or read anew. */
    #begin() {
        const transcript = this.#project.transcript(this.#id);
        if (!transcript || transcript === this.transcript) return;
        this.transcript = transcript;
        this.#transcriptView?.close();
        this.#transcriptView = new TranscriptView(this.#project, this.#session, transcript);
        this.#place.replaceWith(this.#transcriptView.element);
        this.#place = this.#transcriptView.element;
        if (!this.#composer) {
            this.#composer = new Composer(this.#project, this.#session, () => this.#transcriptView.toEnd());
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

    transcriptChanged(transcript) {
        if (transcript !== this.transcript) return this.#begin();
        this.#transcriptView.refresh();
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

    #tellOfTurns({ status }) {
        if (this.#wasRunning === true && status !== "running") announce("The turn is over.");
        this.#wasRunning = status === "running";
    }

    #card(permission) {
        // The agents may be read only after what they ask.
        const agent = () => this.#project.agents.get(permission.agentId)?.name ?? permission.agentId ?? "The agent";
        const answer = async (id, optionId) => {
            const hadFocus = this.#dock.contains(document.activeElement);
            await this.#project.calls.answer(id, optionId);
            if (hadFocus) this.#composer.focus();
        };
        return permissionCard(permission, agent, this.#project.mayWork, answer);
    }

    #showUsage() {
        // History does not tell it: after a reload it is what this tab was told last.
        const key = `usage.${this.#id}`;
        if (this.transcript.usage) remember(key, JSON.stringify(this.transcript.usage), "sessionStorage");
        const usage = JSON.parse(remembered(key, "sessionStorage"));
        attribute(this.#usage, "hidden", !usage);
        if (!usage) return;
        const share = usage.size ? ` of ${amount(usage.size)} tokens` : " tokens";
        const cost = usage.cost ? ` · ${money(usage.cost)}` : "";
        text(this.#usage, `${amount(usage.used ?? 0)}${share}${cost}`);
        attribute(
            this.#usage,
            "title",
            "What the agent's context holds, and what the session has cost, as the agent tells",
        );
    }

    #entries() {
        const mayWork = this.#project.mayWork && this.#session.status !== "ended";
        return [
            mayWork && { label: "Rename…", icon: "pencil", act: () => this.#rename() },
            { label: "Save as Markdown", icon: "download", act: () => this.#save("markdown", "md") },
            { label: "Save as JSON lines", icon: "download", act: () => this.#save("jsonl", "jsonl") },
            mayWork && { label: "End session…", icon: "stop", danger: true, act: () => this.#end() },
        ].filter(Boolean);
    }

    #rename() {
        const input = h("input", { name: "title", required: true, maxlength: 200, value: this.#session.title ?? "" });
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

export function titleFor(session) {
    return session.title ? oneLine(session.title, 200) : "Untitled session";
}

function aboutSession(session, project) {
    const agent = oneLine(project.agents.get(session.agentId)?.name ?? session.agentId, 80);
    const where = session.workingDirectory ? ` in ${oneLine(session.workingDirectory, 200)}` : "";
    const rule = PERMISSIONS[session.permissions];
    return `${agent}${where}${rule ? ` · ${rule}` : ""}`;
}
