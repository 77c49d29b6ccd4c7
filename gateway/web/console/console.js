/** The console: which project and session are shown, and who is told of what has changed. */

import { GatewayProblem } from "./acp-gateway.js";
import { Api, isPassing } from "./api.js";
import { inNextFrame } from "./dom.js";
import { remember, remembered } from "./keep.js";
import { listenForKeys } from "./keyboard.js";
import { isLink, takeLink } from "./link.js";
import { Project } from "./model/project.js";
import { Projects } from "./model/projects.js";
import { Transcript } from "./model/transcript.js";
import { addressOf, addressOfNew, placeOf } from "./place.js";
import { Frame } from "./view/frame.js";
import { openHelp } from "./view/help.js";
import { sentenceForNews } from "./view/news.js";
import { announce, complain, mention, messageOf } from "./view/notices.js";
import { SessionView, titleFor } from "./view/session.js";
import { spentLinkView } from "./view/spent-link.js";
import { Sidebar } from "./view/sidebar.js";
import { StartView, addProjectDialog, welcomeView } from "./view/start.js";
import { sentenceForReset } from "./view/stream.js";
import { askForToken } from "./view/token.js";
import { troubleView } from "./view/trouble.js";

/** @import { Change, Project as About } from "./types.js" */

const TRY_AGAIN_MS = 3000;

export class Console {
    #api = new Api(new URL("../", import.meta.url).href, askForToken);
    #projects = new Projects(this.#api);
    #frame = new Frame();
    #sidebar = new Sidebar(this.#frame.side, {
        pick: (id) => this.#go(addressOf(id)),
        addProject: () => this.#addProject(),
        help: () => this.#help(),
    });
    /** @type {Project | null} */
    #project = null;
    /** @type {number | undefined} */
    #again;
    #showSidebar = inNextFrame(() => this.#updateSidebar());

    async start() {
        addEventListener("hashchange", () => (isLink() ? location.reload() : this.#route()));
        listenForKeys({
            "/": () => this.#frame.view?.focusPrompt?.(),
            n: () => this.#project?.mayWork && this.#go(addressOfNew(this.#project.id)),
            p: () => this.#toPermission(),
            j: () => this.#step(1),
            k: () => this.#step(-1),
            e: () => this.#frame.view?.toEnd?.(),
            "?": () => this.#help(),
        });
        await this.#signIn(takeLink());
    }

    /** @param {string | null} link */
    async #signIn(link) {
        try {
            if (link !== null) await this.#api.signIn(link);
        } catch (problem) {
            const code = problem instanceof GatewayProblem ? problem.code : null;
            if (code === "sign_in_link_gone") {
                this.#frame.show("spent link", () => spentLinkView(() => this.#readProjects()));
                return;
            }
            // A gateway that takes no tokens asks nobody who they are.
            if (code !== "not_found") {
                this.#frame.show("no sign-in", () => troubleView(problem, () => this.#signIn(link), "You could not be signed in"));
                return;
            }
        }
        await this.#readProjects();
    }

    #help() {
        openHelp(this.#api.isSignedIn ? () => this.#signOut() : null);
    }

    async #signOut() {
        try {
            await this.#api.signOut();
            location.reload();
        } catch (problem) {
            complain("You could not be signed out", problem);
        }
    }

    async #readProjects() {
        clearTimeout(this.#again);
        try {
            await this.#projects.read();
        } catch (problem) {
            this.#frame.show(`trouble ${messageOf(problem)}`, () => troubleView(problem, () => this.#readProjects()));
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
        const project = this.#project?.id === about.id ? this.#project : this.#open(about);
        this.#frame.lead(isList);
        project.shownId = sessionId;
        if (sessionId) this.#showSession(project, sessionId);
        else this.#showStart(project);
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

    /** @param {string} address */
    #go(address) {
        location.hash = address;
    }

    /** @param {About} about */
    #open(about) {
        this.#project?.close();
        remember("project", about.id);
        /** @type {Project} */
        const project = new Project(this.#api, about, (what) => {
            if (project === this.#project) this.#changed(project, what);
        });
        this.#project = project;
        project.onReset = (reason) => {
            mention(sentenceForReset(reason));
            if (project === this.#project && !project.transcript(project.shownId)) this.#showAgain();
        };
        project.onNews = (event) => {
            const sentence = sentenceForNews(event);
            if (sentence && project === this.#project) mention(sentence);
        };
        project.onOver = (problem) => this.#isGone(project, "The project cannot be read any more", problem);
        project.open().catch((problem) => this.#isGone(project, "The project could not be read", problem));
        this.#sidebar.showProjects(this.#projects.list, about.id);
        return project;
    }

    /**
     * What was read of it stays on the page.
     *
     * @param {Project} project
     * @param {string} sentence
     * @param {unknown} problem
     */
    #isGone(project, sentence, problem) {
        if (problem instanceof GatewayProblem && problem.code === "project_not_found") this.#projects.forget(project.id);
        if (project !== this.#project) return;
        this.#sidebar.showProjects(this.#projects.list, project.id);
        complain(sentence, problem);
    }

    /** What was shown may not be there any more. */
    #showAgain() {
        this.#frame.forget();
        this.#route();
    }

    /**
     * @param {Project} project
     * @param {string} id
     */
    #showSession(project, id) {
        this.#frame.show(`session ${project.id} ${id}`, () => new SessionView(project, id));
    }

    /** @param {Project} project */
    #showStart(project) {
        /** @param {string} sessionId */
        const begun = (sessionId) => this.#go(addressOf(project.id, sessionId));
        this.#frame.show(`start ${project.id}`, () => new StartView(project, begun));
    }

    /**
     * @param {Project} project
     * @param {Change} what
     */
    #changed(project, what) {
        const { view } = this.#frame;
        if (what instanceof Transcript) {
            if (project.transcript(project.shownId) === what) view?.transcriptChanged?.(what);
            return;
        }
        // At once: a tab that nobody looks at is given no frames, and its title is what is seen of it.
        this.#showTitle(project);
        this.#showSidebar();
        if (what === "about") this.#sidebar.showProjects(this.#projects.list, project.id);
        if (what === "permissions") view?.permissionsChanged?.();
        else if (what === "stream") view?.streamChanged?.();
        else view?.update();
    }

    #updateSidebar() {
        const project = this.#project;
        if (!project) return;
        this.#sidebar.show(project, project.shownId);
        this.#showTitle(project);
    }

    /** @param {Project} project */
    #showTitle({ permissions, sessions, shownId }) {
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

    /** @param {number} by */
    #step(by) {
        const id = this.#sidebar.neighbour(by);
        if (id && this.#project) this.#go(addressOf(this.#project.id, id));
    }

    #toPermission() {
        const project = this.#project;
        const first = project?.permissions.first;
        if (!project || !first) {
            mention("Nothing waits for your answer");
            return;
        }
        const here = project.permissions.in(project.shownId).length > 0;
        if (here) this.#frame.view?.focusPermission?.();
        else this.#go(addressOf(project.id, first.sessionId));
    }
}
