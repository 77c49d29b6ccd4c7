/** The console: which project and session are shown, and who is told of what has changed. */

import { Api, isPassing } from "./api.js";
import { attribute, h, inNextFrame } from "./dom.js";
import { Project } from "./model/project.js";
import { Transcript } from "./model/transcript.js";
import { remember, remembered } from "./keep.js";
import { keysAreOn, openHelp } from "./view/help.js";
import { announce, complain, hintFor, mention } from "./view/notices.js";
import { SessionView, titleFor } from "./view/session.js";
import { Sidebar } from "./view/sidebar.js";
import { StartView, addProjectDialog, welcomeView } from "./view/start.js";
import { askForToken } from "./view/token.js";

const PROJECTS_AT_ONCE = 200;
/** Where there is no room for two things beside each other: as in layout.css. */
const NARROW = matchMedia("(max-width: 760px)");
const TRY_AGAIN_MS = 3000;

const RESETS = {
    other_epoch: "the log was restored from a backup, or the project was made anew",
    beyond_head: "the log is shorter than it was",
    no_longer_kept: "what comes next is no longer kept",
    unreadable_cursor: "the place to go on from was none",
    events_missing: "events were lost on their way",
};

class Console {
    #api = new Api(new URL("../", import.meta.url).href, askForToken);
    #main = document.getElementById("main");
    #sidebar = new Sidebar(document.getElementById("sidebar"), {
        pick: (id) => this.#go(id),
        addProject: () => this.#addProject(),
        help: openHelp,
    });
    #projects = [];
    #project = null;
    #page = null;
    #view = null;
    #showSidebar = inNextFrame(() => this.#updateSidebar());

    async start() {
        addEventListener("hashchange", () => this.#route());
        NARROW.addEventListener("change", () => this.#markMain());
        document.addEventListener("keydown", (event) => this.#key(event));
        await this.#readProjects();
    }

    async #readProjects() {
        try {
            const found = [];
            for (let after = ""; after !== null;) {
                const query = after && `&after=${encodeURIComponent(after)}`;
                const { projects, next } = await this.#api.get(`/api/projects?limit=${PROJECTS_AT_ONCE}${query}`);
                found.push(...projects);
                after = next;
            }
            this.#projects = found;
            await this.#route();
        } catch (problem) {
            this.#show(
                troubleView("The gateway does not answer as it should", problem, () => this.#readProjects()),
                "trouble",
            );
            if (isPassing(problem)) setTimeout(() => this.#readProjects(), TRY_AGAIN_MS);
        }
    }

    /** `#/project/session`, `#/project/new`, `#/project`, or nothing. */
    async #route() {
        const [projectId, sessionId] = location.hash.slice(2).split("/").filter(Boolean).map(decodeURIComponent);
        const about = this.#projects.find(({ id }) => id === projectId);
        if (!about) {
            if (projectId) complain("There is no such project", new Error(`“${projectId}” is not among yours.`));
            return this.#goHome();
        }
        if (this.#project?.id !== about.id) this.#open(about);
        document.body.dataset.page = sessionId ? "session" : "list";
        this.#markMain();
        this.#project.shownId = sessionId && sessionId !== "new" ? sessionId : null;
        if (this.#project.shownId) this.#showSession(this.#project.shownId);
        else this.#showStart();
        this.#updateSidebar();
    }

    /** On a small screen the list is all that is shown, and so the main thing. */
    #markMain() {
        const isMain = NARROW.matches && document.body.dataset.page === "list";
        attribute(document.getElementById("sidebar"), "role", isMain ? "main" : "navigation");
    }

    #goHome() {
        const last = this.#projects.find(({ id }) => id === remembered("project")) ?? this.#projects[0];
        if (last) return location.replace(`#/${encodeURIComponent(last.id)}`);
        this.#project?.close();
        this.#project = null;
        document.body.dataset.page = "session";
        this.#sidebar.showProjects([], null);
        this.#sidebar.show(null, null);
        this.#show(
            welcomeView(() => this.#addProject()),
            "welcome",
        );
    }

    #go(projectId, sessionId) {
        location.hash = `#/${[projectId, sessionId].filter(Boolean).map(encodeURIComponent).join("/")}`;
    }

    #open(about) {
        this.#project?.close();
        remember("project", about.id);
        const project = (this.#project = new Project(
            this.#api,
            about,
            (what) => project === this.#project && this.#changed(what),
        ));
        project.onReset = (reason) => {
            mention(`The event stream began anew: ${RESETS[reason] ?? reason}. Everything was read again.`);
            if (project === this.#project && !project.transcript(project.shownId)) this.#showAgain();
        };
        project.onOver = (problem) => complain("The project cannot be read any more", problem);
        project.open().catch((problem) => {
            if (project === this.#project) complain("The project could not be read", problem);
        });
        this.#sidebar.showProjects(this.#projects, about.id);
    }

    /** What was shown may not be there any more. */
    #showAgain() {
        this.#page = null;
        this.#route();
    }

    #showSession(id) {
        const page = `session ${this.#project.id} ${id}`;
        if (this.#page === page) return;
        const view = new SessionView(this.#project, id);
        this.#show(view, page);
        view.update();
        view.load();
    }

    #showStart() {
        const page = `start ${this.#project.id}`;
        if (this.#page === page) return;
        this.#show(new StartView(this.#project, (id) => this.#go(this.#project.id, id)), page);
    }

    #show(view, page) {
        const had = this.#view !== null;
        this.#view?.close();
        this.#view = view;
        this.#page = page;
        this.#main.replaceChildren(view.element);
        if (had) this.#main.focus({ preventScroll: true });
    }

    #changed(what) {
        if (what instanceof Transcript) {
            if (this.#project.transcript(this.#project.shownId) === what) this.#view.transcriptChanged?.(what);
            return;
        }
        // At once: a tab that nobody looks at is given no frames, and its title is what is seen of it.
        this.#showTitle();
        this.#showSidebar();
        if (what === "permissions") this.#view.permissionsChanged?.();
        else if (what === "stream") this.#view.streamChanged?.();
        else this.#view.update();
    }

    #updateSidebar() {
        const project = this.#project;
        if (!project) return;
        this.#sidebar.show(project, project.shownId);
        this.#showTitle();
    }

    #showTitle() {
        const project = this.#project;
        const session = project.sessions.get(project.shownId);
        const asked = project.permissions.count ? `(${project.permissions.count}) ` : "";
        document.title = `${asked}${session ? `${titleFor(session)} · ` : ""}ACP gateway`;
    }

    async #addProject() {
        const added = await addProjectDialog(this.#api);
        if (!added) return;
        await this.#readProjects();
        this.#go(added.id);
        announce("The project was added.");
    }

    #key(event) {
        const { key, target, ctrlKey, metaKey, altKey } = event;
        if (ctrlKey || metaKey || altKey || !keysAreOn() || document.querySelector("dialog[open]")) return;
        if (target.closest("input, textarea, select, [contenteditable]")) return;
        const act = {
            "/": () => this.#view.focusPrompt?.(),
            n: () => this.#project?.mayWork && this.#go(this.#project.id, "new"),
            p: () => this.#toPermission(),
            j: () => this.#step(1),
            k: () => this.#step(-1),
            e: () => this.#view.toEnd?.(),
            "?": openHelp,
        }[key];
        if (!act) return;
        event.preventDefault();
        act();
    }

    #step(by) {
        const id = this.#sidebar.neighbour(by);
        if (id) this.#go(this.#project.id, id);
    }

    #toPermission() {
        const first = this.#project?.permissions.first;
        if (!first) return mention("Nothing waits for your answer");
        const here = this.#project.permissions.in(this.#project.shownId).length > 0;
        if (!here) this.#go(this.#project.id, first.sessionId);
        else this.#view.focusPermission?.();
    }
}

function troubleView(title, problem, again) {
    const element = h(
        "div.plain-page",
        { role: "alert" },
        h("h1", title),
        h("p", problem.message),
        hintFor(problem) ? h("p.about", hintFor(problem)) : null,
        h("div.form-actions", h("button.primary", { type: "button", on: { click: again } }, "Try again")),
    );
    return { element, update() {}, close() {} };
}

new Console().start();
