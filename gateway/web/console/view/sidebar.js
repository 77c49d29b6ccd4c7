/** Where one goes: projects, sessions, agents. */

import { Keyed, attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { addressOf, addressOfNew } from "../place.js";
import { oneLine } from "../text/plain.js";
import { when } from "../text/times.js";
import { AgentsView } from "./agents.js";
import { complain } from "./notices.js";
import { titleFor } from "./session.js";
import { StreamBadge } from "./stream.js";
import { themeButton } from "./theme.js";

/** @import { Project } from "../model/project.js" */
/** @import { KnownSession, Project as About, View } from "../types.js" */

export class Sidebar {
    /** @type {HTMLSelectElement} */
    #select;
    #switch;
    #rows = h("ul.sessions");
    /** @type {Keyed<KnownSession>} */
    #list = new Keyed(this.#rows, () => this.#row());
    #empty = h("p.side-empty");
    #more = h(
        "button.quiet.small",
        { type: "button", hidden: true, on: { click: () => this.#loadMore() } },
        "Older sessions",
    );
    #ended = h("input", { type: "checkbox", id: "show-ended", on: { change: () => this.#showEnded() } });
    #newSession = h("a.button.small", icon("plus"), "New");
    #sessions;
    #agents = new AgentsView();
    #badge = new StreamBadge({ speaks: true });
    /** @type {Project | null} */
    #project = null;
    /** @type {string | null} */
    #shown = null;

    /**
     * @param {Element} root
     * @param {{ pick: (id: string) => void, addProject: () => void, help: () => void }} actions
     */
    constructor(root, { pick, addProject, help }) {
        this.#select = h("select", { "aria-label": "Project", on: { change: () => pick(this.#select.value) } });
        const add = h(
            "button.icon-button",
            { type: "button", title: "Add a project", "aria-label": "Add a project", on: { click: addProject } },
            icon("plus"),
        );
        const helpButton = h(
            "button.icon-button",
            { type: "button", title: "Help and keys", "aria-label": "Help and keys", on: { click: help } },
            icon("question"),
        );
        this.#switch = h("div.project-switch", this.#select, add);
        this.#sessions = h(
            "section.side-section.grows",
            { "aria-labelledby": "sessions-title" },
            h("div.side-head", h("h2", { id: "sessions-title" }, "Sessions"), this.#newSession),
            this.#empty,
            this.#rows,
            h("div.side-foot", this.#more, h("label.check", { for: "show-ended" }, this.#ended, "Show ended sessions")),
        );
        root.append(
            h(
                "div.brand",
                h("img", { src: "console/icon.svg", alt: "", width: 32, height: 32 }),
                h(
                    "div.brand-words",
                    h("span", { role: "heading", "aria-level": 1 }, "ACP gateway"),
                    this.#badge.element,
                ),
                helpButton,
                themeButton(),
            ),
            this.#switch,
            this.#sessions,
            this.#agents.element,
        );
    }

    /**
     * @param {About[]} projects
     * @param {string | null} current
     */
    showProjects(projects, current) {
        this.#select.replaceChildren(
            ...projects.map(({ id, name }) =>
                h("option", { value: id }, oneLine(name && name !== id ? `${name} (${id})` : id, 80)),
            ),
        );
        this.#select.value = current ?? "";
        this.#switch.hidden = !projects.length && current === null;
    }

    /**
     * @param {Project | null} project
     * @param {string | null} sessionId
     */
    show(project, sessionId) {
        this.#project = project;
        this.#shown = sessionId;
        this.#sessions.hidden = !project;
        this.#agents.show(project);
        this.#badge.element.hidden = !project;
        if (!project) return;
        this.#badge.show(project.streamState);
        attribute(this.#newSession, "href", addressOfNew(project.id));
        this.#newSession.hidden = !project.mayWork;
        const list = project.sessions.listed(project.shownId);
        this.#list.show(list, ({ id }) => id);
        this.#empty.hidden = list.length > 0;
        text(this.#empty, project.sessions.areRead ? "No sessions yet." : "Loading…");
        this.#more.hidden = !project.sessions.more;
        this.#ended.checked = project.sessions.showsEnded;
    }

    /**
     * The session before or after the one that is shown.
     *
     * @param {number} step
     */
    neighbour(step) {
        const list = this.#project?.sessions.listed(this.#shown) ?? [];
        const place = list.findIndex(({ id }) => id === this.#shown);
        return list[place === -1 ? 0 : place + step]?.id ?? null;
    }

    /** @returns {View<KnownSession>} */
    #row() {
        const title = h("bdi.session-title");
        const about = h("span.session-row-about");
        const mark = h("span.session-mark");
        const link = h("a.session-link", h("span.session-row-words", title, about), mark);
        /** @param {KnownSession} session */
        const update = (session) => {
            const project = this.#project;
            if (!project) return;
            const asked = project.permissions.in(session.id).length;
            const agent = project.agents.get(session.agentId)?.name ?? session.agentId;
            attribute(link, "href", addressOf(project.id, session.id));
            attribute(link, "aria-current", session.id === this.#shown && "page");
            text(title, titleFor(session));
            text(about, `${oneLine(agent, 40)} · ${session.status === "ended" ? "ended" : when(session.updatedAt)}`);
            const state = asked
                ? "asking"
                : session.status === "running"
                  ? "running"
                  : session.isUnseen
                    ? "unseen-news"
                    : "";
            if (mark.dataset.state === state) return;
            mark.dataset.state = state;
            mark.replaceChildren(...markOf(state));
        };
        return { element: h("li", link), update };
    }

    async #loadMore() {
        try {
            await this.#project?.sessions.readMore();
        } catch (problem) {
            complain("Older sessions could not be read", problem);
        }
    }

    async #showEnded() {
        try {
            await this.#project?.sessions.showEnded(this.#ended.checked);
        } catch (problem) {
            complain("Ended sessions could not be read", problem);
        }
    }
}

/** @param {string} state */
function markOf(state) {
    switch (state) {
        case "asking":
            return [icon("key"), h("span.unseen", "waits for your answer")];
        case "running":
            return [h("span.spinner"), h("span.unseen", "running")];
        case "unseen-news":
            return [h("span.dot"), h("span.unseen", "something new")];
        default:
            return [];
    }
}
