/** The beginning of things: a session, a project, an empty installation. */

import { isPassing } from "../api.js";
import { Keyed, h, text } from "../dom.js";
import { Draft } from "../draft.js";
import { icon } from "../icons.js";
import { addressOf } from "../place.js";
import { oneLine } from "../text/plain.js";
import { isMissing } from "./agents.js";
import { field, form, openDialog } from "./dialog.js";
import { complain, hintFor, messageOf } from "./notices.js";

/** @import { Api } from "../api.js" */
/** @import { Agents } from "../model/agents.js" */
/** @import { Project } from "../model/project.js" */
/** @import { Agent, PageView, Project as About, Session, View } from "../types.js" */

const EXAMPLES = ["help", "Show me what you can do", "plan Read; Write; Test", "run ls -la"];

/** The page of a project: begin a session with its first prompt. */
export class StartView {
    #project;
    #draft;
    #choices = h("div.choices", { role: "radiogroup", "aria-labelledby": "choose-agent" });
    /** @type {Keyed<Agent>} */
    #list;
    #form;
    #about = h("p.about");
    /** @type {HTMLTextAreaElement} */
    #box;
    #begin;
    #examples = h("div.examples");
    #problem = h("p.form-problem", { role: "alert", hidden: true });
    /** @type {string | null} */
    #chosen = null;
    #busy = false;

    /**
     * @param {Project} project
     * @param {(sessionId: string) => void} begun
     */
    constructor(project, begun) {
        this.#project = project;
        this.#draft = new Draft(project.id);
        this.begun = begun;
        this.#list = new Keyed(this.#choices, (agent) => this.#choice(agent));
        this.#box = h("textarea", {
            id: "prompt",
            rows: 3,
            placeholder: "What shall the agent do?",
            value: this.#draft.text,
            on: { input: () => this.#draft.write(this.#box.value), keydown: (event) => this.#pressed(event) },
        });
        this.#begin = h("button.primary", { type: "submit" }, icon("send"), "Begin session");
        const title = h("input", {
            name: "title",
            maxlength: 200,
            autocomplete: "off",
            placeholder: "made of the prompt, if you leave it empty",
        });
        const directory = h("input", { name: "workingDirectory", autocomplete: "off", spellcheck: "false" });
        this.#form = h(
            "form.start-form",
            { on: { submit: (event) => this.#submit(event, title, directory) } },
            h("fieldset", h("legend", { id: "choose-agent" }, "Agent"), this.#choices, this.#about),
            field("First prompt", this.#box, "You may leave it empty, and write it in the session."),
            this.#examples,
            h(
                "details",
                h("summary", "Title and directory"),
                field("Title", title),
                field(
                    "Working directory",
                    directory,
                    "Inside the container's workspace; nothing for the workspace itself.",
                ),
            ),
            this.#problem,
            h("div.form-actions", this.#begin),
        );
        this.element = h(
            "div.start",
            h("a.icon-button.back", { href: addressOf(project.id), "aria-label": "All sessions" }, icon("back")),
            h("h1", "New session"),
            this.#form,
        );
        this.update();
    }

    close() {}

    focusPrompt() {
        this.#box.focus();
    }

    update() {
        const { list, defaultId } = this.#project.agents;
        const agents = list.filter((agent) => !isMissing(agent) || agent.id === defaultId);
        if (!agents.some(({ id }) => id === this.#chosen))
            this.#chosen = (agents.find(({ id }) => id === defaultId) ?? agents[0])?.id ?? null;
        this.#list.show(agents, ({ id }) => id);
        this.#about.hidden = agents.length > 0;
        text(this.#about, aboutNone(this.#project.agents));
        const shows = this.#chosen === "demo";
        this.#examples.hidden = !shows;
        if (shows && !this.#examples.childElementCount) {
            this.#examples.append(
                h("span.about", "The demo agent does what a prompt says:"),
                ...EXAMPLES.map((example) => this.#example(example)),
            );
        }
    }

    /** @param {string} example */
    #example(example) {
        const fill = () => {
            this.#box.value = example;
            this.#box.focus();
        };
        return h("button.chip", { type: "button", on: { click: fill } }, oneLine(example, 40));
    }

    /**
     * @param {Agent} agent
     * @returns {View<Agent>}
     */
    #choice(agent) {
        const input = h("input", {
            type: "radio",
            name: "agent",
            value: agent.id,
            on: { change: () => ((this.#chosen = agent.id), this.update()) },
        });
        const name = h("bdi.choice-name");
        const about = h("span.choice-about");
        /** @param {Agent} given */
        const update = (given) => {
            input.checked = given.id === this.#chosen;
            text(name, oneLine(given.name ?? given.id, 80));
            text(
                about,
                oneLine(
                    given.status === "auth_required" || (given.requiresAuth && !given.authenticated)
                        ? "No account connected"
                        : (given.description ?? ""),
                    160,
                ),
            );
        };
        return { element: h("label.choice", input, h("span.choice-words", name, about)), update };
    }

    /** @param {KeyboardEvent} event */
    #pressed(event) {
        if (event.key !== "Enter" || event.isComposing || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.#form.requestSubmit();
    }

    /**
     * @param {Event} event
     * @param {HTMLInputElement} title
     * @param {HTMLInputElement} directory
     */
    async #submit(event, title, directory) {
        event.preventDefault();
        if (this.#busy) return;
        this.#busy = true;
        this.#begin.setAttribute("aria-disabled", "true");
        this.#problem.hidden = true;
        const prompt = this.#box.value;
        try {
            const session = await this.#project.sessions.create({
                ...(this.#chosen && { agentId: this.#chosen }),
                title: title.value.trim() || firstWords(prompt) || "New session",
                ...(directory.value.trim() && { workingDirectory: directory.value.trim() }),
            });
            await this.#send(session, prompt);
            this.begun(session.id);
        } catch (problem) {
            const hint = hintFor(problem);
            text(this.#problem, hint ? `${messageOf(problem)} ${hint}` : messageOf(problem));
            this.#problem.hidden = false;
        } finally {
            this.#busy = false;
            this.#begin.removeAttribute("aria-disabled");
        }
    }

    /**
     * The session is there, whatever becomes of the prompt: what was not taken waits in its box.
     *
     * @param {Session} session
     * @param {string} prompt
     */
    async #send(session, prompt) {
        this.#draft.write(null);
        if (!prompt.trim()) return;
        const draft = new Draft(this.#project.id, session.id);
        draft.write(prompt);
        try {
            await this.#project.calls.prompt(session.id, prompt, draft.keyFor(prompt));
            draft.settle();
            draft.write(null);
        } catch (problem) {
            if (!isPassing(problem)) draft.settle();
            complain("The prompt was not taken", problem);
        }
    }
}

/**
 * Why no agent can be chosen.
 *
 * @param {Agents} agents
 */
function aboutNone({ areRead, problem }) {
    if (problem) return "The container cannot be asked which agents it has.";
    return areRead ? "None of its agents is installed in the container." : "Loading…";
}

/** @param {string} prompt */
function firstWords(prompt) {
    return oneLine(prompt.split("\n").find((line) => line.trim()) ?? "", 60);
}

/**
 * An empty installation: what to do first.
 *
 * @param {() => void} addProject
 * @returns {PageView}
 */
export function welcomeView(addProject) {
    const element = h(
        "div.plain-page.welcome",
        h("h1", "No project yet"),
        h(
            "p",
            "A project stands for one container in which coding agents run. Add one, and its agents and sessions are here.",
        ),
        h(
            "div.form-actions",
            h("button.primary", { type: "button", on: { click: addProject } }, icon("plus"), "Add a project"),
        ),
        h(
            "p.about",
            "To look around without a container, stop this gateway and run ",
            h("code", "acp-gateway up"),
            ": it brings a demo agent along that needs no account.",
        ),
    );
    return { element, update() {}, close() {} };
}

/**
 * Register a container; gives the new project, or nothing.
 *
 * @param {Api} api
 * @returns {Promise<About | undefined>}
 */
export function addProjectDialog(api) {
    const address = h("input", {
        name: "containerUrl",
        type: "url",
        required: true,
        placeholder: "http://127.0.0.1:4096",
        spellcheck: "false",
    });
    const id = h("input", {
        name: "id",
        pattern: "[a-z0-9\\-]{1,64}",
        placeholder: "shop",
        spellcheck: "false",
        autocomplete: "off",
    });
    const name = h("input", { name: "name", maxlength: 200, autocomplete: "off" });
    const user = h("input", { name: "opencodeUsername", maxlength: 200, placeholder: "opencode", autocomplete: "off" });
    const password = h("input", { name: "opencodePassword", type: "password", autocomplete: "new-password" });
    return openDialog("Add a project", (close) =>
        form(
            "Add",
            [
                field(
                    "The container's address",
                    address,
                    "Where it serves OpenCode. Its ACP port is taken to be the next one.",
                ),
                field("Id", id, "1 to 64 of a to z, 0 to 9 and “-”; made up if left empty."),
                field("Name", name),
                h(
                    "details",
                    h("summary", "OpenCode wants a password"),
                    field("User name", user),
                    field("Password", password, "As in its OPENCODE_SERVER_PASSWORD. It is stored encrypted."),
                ),
            ],
            async () => {
                /** @type {{ [name: string]: string }} */
                const body = { containerUrl: address.value.trim() };
                if (id.value.trim()) body.id = id.value.trim();
                if (name.value.trim()) body.name = name.value.trim();
                if (user.value.trim()) body.opencodeUsername = user.value.trim();
                if (password.value) body.opencodePassword = password.value;
                close(await api.call("POST", "/api/projects", body));
            },
        ),
    );
}
