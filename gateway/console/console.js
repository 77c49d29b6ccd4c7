/** The console: which project and session are shown, and who is told of what has changed. */

import { Api, isPassing } from "./api.js";
import { inNextFrame } from "./dom.js";
import { remember, remembered } from "./keep.js";
import { listenForKeys } from "./keyboard.js";
import { Project } from "./model/project.js";
import { Projects } from "./model/projects.js";
import { Transcript } from "./model/transcript.js";
import { addressOf, addressOfNew, placeOf } from "./place.js";
import { Frame } from "./view/frame.js";
import { openHelp } from "./view/help.js";
import { announce, complain, mention } from "./view/notices.js";
import { SessionView, titleFor } from "./view/session.js";
import { Sidebar } from "./view/sidebar.js";
import { StartView, addProjectDialog, welcomeView } from "./view/start.js";
import { sentenceForReset } from "./view/stream.js";
import { askForToken } from "./view/token.js";
import { troubleView } from "./view/trouble.js";

const TRY_AGAIN_MS = 3000;

export class Console {
    #api = new Api(new URL("../", import.meta.url).href, askForToken);
    #projects = new Projects(this.#api);
    #frame = new Frame();
    #sidebar = new Sidebar(this.#frame.side, {
        pick: (id) => this.#go(addressOf(id)),
        addProject: () => this.#addProject(),
        help: openHelp,
    });
    #project = null;
    #again = null;
    #showSidebar = inNextFrame(() => this.#updateSidebar());

    async start() {
        addEventListener("hashchange", () => this.#route());
        listenForKeys({
            "/": () => this.#frame.view?.focusPrompt?.(),
            n: () => this.#project?.mayWork && this.#go(addressOfNew(this.#project.id)),
            p: () => this.#toPermission(),
            j: () => this.#step(1),
            k: () => this.#step(-1),
            e: () => this.#frame.view?.toEnd?.(),
            "?": openHelp,
        });
        await this.#readProjects();
    }

    async #readProjects() {
        clearTimeout(this.#again);
        try {
            await this.#projects.read();
        } catch (problem) {
            this.#frame.show(`trouble ${problem.message}`, () => troubleView(problem, () => this.#readProjects()));
            clearTimeout(this.#again);
            if (isPassing(problem)) this.#again = setTimeout(() => this.#readProjects(), TRY_AGAIN_MS);
            return;
        }
        this.#route();
    }

    /** Show what the address names. */
    #route() {
        const { projectId, sessionId, isList } = placeOf(location.hash);
        const about = this.#projects.get(projectId);
        if (!about) {
            if (projectId) complain("There is no such project", new Error(`“${projectId}” is not among yours.`));
            this.#goHome();
            return;
        }
        if (this.#project?.id !== about.id) this.#open(about);
        this.#frame.lead(isList);
        this.#project.shownId = sessionId;
        if (sessionId) this.#showSession(sessionId);
        else this.#showStart();
        this.#updateSidebar();
    }

    #goHome() {
        const home = this.#projects.preferred(remembered("project"));
        if (home) {
            location.replace(addressOf(home.id));
            return;
        }
        this.#project?.close();
        this.#project = null;
        this.#frame.lead(false);
        this.#sidebar.showProjects([], null);
        this.#sidebar.show(null, null);
        this.#frame.show("welcome", () => welcomeView(() => this.#addProject()));
    }

    #go(address) {
        location.hash = address;
    }

    #open(about) {
        this.#project?.close();
        remember("project", about.id);
        const project = new Project(this.#api, about, (what) => project === this.#project && this.#changed(what));
        this.#project = project;
        project.onReset = (reason) => {
            mention(sentenceForReset(reason));
            if (project === this.#project && !project.transcript(project.shownId)) this.#showAgain();
        };
        project.onOver = (problem) => complain("The project cannot be read any more", problem);
        project.open().catch((problem) => {
            if (project === this.#project) complain("The project could not be read", problem);
        });
        this.#sidebar.showProjects(this.#projects.list, about.id);
    }

    /** What was shown may not be there any more. */
    #showAgain() {
        this.#frame.forget();
        this.#route();
    }

    #showSession(id) {
        this.#frame.show(`session ${this.#project.id} ${id}`, () => new SessionView(this.#project, id));
    }

    #showStart() {
        const { id } = this.#project;
        const begun = (sessionId) => this.#go(addressOf(id, sessionId));
        this.#frame.show(`start ${id}`, () => new StartView(this.#project, begun));
    }

    #changed(what) {
        const { view } = this.#frame;
        if (what instanceof Transcript) {
            if (this.#project.transcript(this.#project.shownId) === what) view.transcriptChanged?.(what);
            return;
        }
        // At once: a tab that nobody looks at is given no frames, and its title is what is seen of it.
        this.#showTitle();
        this.#showSidebar();
        if (what === "permissions") view.permissionsChanged?.();
        else if (what === "stream") view.streamChanged?.();
        else view.update();
    }

    #updateSidebar() {
        const project = this.#project;
        if (!project) return;
        this.#sidebar.show(project, project.shownId);
        this.#showTitle();
    }

    #showTitle() {
        const { permissions, sessions, shownId } = this.#project;
        const session = sessions.get(shownId);
        const asked = permissions.count ? `(${permissions.count}) ` : "";
        document.title = `${asked}${session ? `${titleFor(session)} · ` : ""}ACP gateway`;
    }

    async #addProject() {
        const added = await addProjectDialog(this.#api);
        if (!added) return;
        await this.#readProjects();
        this.#go(addressOf(added.id));
        announce("The project was added.");
    }

    #step(by) {
        const id = this.#sidebar.neighbour(by);
        if (id) this.#go(addressOf(this.#project.id, id));
    }

    #toPermission() {
        const first = this.#project?.permissions.first;
        if (!first) {
            mention("Nothing waits for your answer");
            return;
        }
        const here = this.#project.permissions.in(this.#project.shownId).length > 0;
        if (here) this.#frame.view.focusPermission?.();
        else this.#go(addressOf(this.#project.id, first.sessionId));
    }
}
