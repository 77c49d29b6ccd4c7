/** A project's agents: how each stands, and what can be done about it. */

import { Keyed, attribute, h, text } from "../dom.js";
import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";
import { field, form, openDialog } from "./dialog.js";
import { menu } from "./menu.js";
import { openConnect } from "./connect.js";
import { complain, hintFor, mention, messageOf } from "./notices.js";

/** @import { Project } from "../model/project.js" */
/** @import { Agent, View } from "../types.js" */
/** @import { MenuEntry } from "./menu.js" */

const WORDS = {
    stopped: "stopped",
    starting: "starting",
    running: "running",
    error: "failed",
    auth_required: "no account",
};

export class AgentsView {
    /** @type {Project | null} */
    #project = null;
    #rows = h("ul.agents");
    #problem = h("div.side-problem", { hidden: true });
    #loading = h("p.side-empty", "Loading…");
    /** @type {Keyed<Agent>} */
    #list = new Keyed(this.#rows, (agent) => this.#row(agent));
    #missing = h("summary");
    #missingRows = h("ul.agents");
    /** @type {Keyed<Agent>} */
    #missingList = new Keyed(this.#missingRows, (agent) => this.#row(agent));
    #missingPart = h("details.missing", this.#missing, this.#missingRows);
    element = h(
        "section.side-section",
        { "aria-labelledby": "agents-title" },
        h("div.side-head", h("h2", { id: "agents-title" }, "Agents")),
        this.#problem,
        this.#loading,
        this.#rows,
        this.#missingPart,
    );

    /** @param {Project | null} project */
    show(project) {
        this.#project = project;
        this.element.hidden = !project;
        if (!project) return;
        const { list: agents, areRead, areStale, problem } = project.agents;
        const missing = agents.filter(isMissing);
        this.#list.show(
            agents.filter((agent) => !isMissing(agent)),
            ({ id }) => id,
        );
        this.#missingList.show(missing, ({ id }) => id);
        this.#missingPart.hidden = !missing.length;
        text(this.#missing, `${missing.length} not installed`);
        this.#loading.hidden = areRead || Boolean(problem);
        this.#problem.hidden = !problem && !areStale;
        const said = problem
            ? [
                  h("strong", "The container cannot be asked."),
                  h("span", messageOf(problem)),
                  h("span", hintFor(problem) ?? ""),
              ]
            : [h("span", "The container is away; this is what it said last.")];
        this.#problem.replaceChildren(
            ...said,
            h("button.quiet.small", { type: "button", on: { click: () => project.agents.read() } }, "Ask again"),
        );
    }

    /**
     * @param {Agent} first
     * @returns {View<Agent>}
     */
    #row(first) {
        const name = h("bdi.agent-name");
        const state = h("span.agent-state");
        const dot = h("span.dot", { "aria-hidden": "true" });
        let agent = first;
        const actions = menu("What to do with this agent", () => this.#entries(agent));
        const element = h("li.agent", dot, h("div.agent-words", name, state), actions);
        const summary = actions.querySelector("summary");
        /** @param {Agent} given */
        const update = (given) => {
            agent = given;
            text(name, oneLine(agent.name ?? agent.id, 80));
            attribute(name, "title", agent.description && oneLine(agent.description, 300));
            text(state, stateOf(agent, this.#project?.agents.defaultId ?? null));
            if (summary) attribute(summary, "aria-label", `What to do with ${oneLine(agent.name ?? agent.id, 80)}`);
            element.dataset.state = agent.status;
            actions.hidden = !this.#project?.mayWork;
        };
        return { element, update };
    }

    /**
     * @param {Agent} agent
     * @returns {(MenuEntry | false)[]}
     */
    #entries(agent) {
        const project = this.#project;
        if (!project) return [];
        const runs = agent.status === "running" || agent.status === "starting";
        return [
            !runs && !isMissing(agent) && { label: "Start", icon: "play", act: () => this.#spawn(project, agent) },
            !isMissing(agent) && {
                label: "Start with variables…",
                icon: "play",
                act: () => this.#spawnWith(project, agent),
            },
            {
                label: agent.requiresAuth && !agent.authenticated ? "Connect an account…" : "Account…",
                icon: "key",
                act: () => this.#connect(project, agent),
            },
            runs && { label: "Stop", icon: "stop", danger: true, act: () => this.#stop(project, agent) },
        ];
    }

    /**
     * @param {Project} project
     * @param {Agent} agent
     */
    async #spawn(project, agent) {
        try {
            await project.calls.spawn(agent.id);
            mention(`${oneLine(agent.name)} is starting`);
        } catch (problem) {
            complain(`${oneLine(agent.name)} was not started`, problem);
        }
        project.agents.read();
    }

    /**
     * @param {Project} project
     * @param {Agent} agent
     */
    async #connect(project, agent) {
        await openConnect(agent.name ?? agent.id, project.calls.auth(agent.id));
        project.agents.read();
    }

    /**
     * @param {Project} project
     * @param {Agent} agent
     */
    #spawnWith(project, agent) {
        const variables = h("textarea", {
            rows: 4,
            spellcheck: "false",
            autocomplete: "off",
            placeholder: "NAME=value",
        });
        const directory = h("input", { autocomplete: "off", spellcheck: "false" });
        openDialog(`Start ${oneLine(agent.name, 60)}`, (close) =>
            form(
                "Start",
                [
                    field(
                        "Environment variables",
                        variables,
                        "One a line. They are given to the agent's process and kept nowhere else.",
                    ),
                    field(
                        "Working directory",
                        directory,
                        "Inside the container's workspace; nothing for the workspace itself.",
                    ),
                ],
                async () => {
                    await project.calls.spawn(agent.id, {
                        env: parsed(variables.value),
                        ...(directory.value.trim() && { workingDirectory: directory.value.trim() }),
                    });
                    close();
                    project.agents.read();
                },
            ),
        );
    }

    /**
     * @param {Project} project
     * @param {Agent} agent
     */
    async #stop(project, agent) {
        try {
            await project.calls.stop(agent.id);
        } catch (problem) {
            complain(`${oneLine(agent.name)} was not stopped`, problem);
        }
        project.agents.read();
    }
}

/**
 * Whether it cannot be started as it is; its error says what to do.
 *
 * @param {Agent} agent
 */
export function isMissing({ status, error }) {
    return status === "stopped" && Boolean(error);
}

/** @param {string} lines */
function parsed(lines) {
    /** @type {Record<string, string>} */
    const env = {};
    for (const line of lines.split("\n").filter((one) => one.trim())) {
        const place = line.indexOf("=");
        if (place < 1) throw new Error(`“${oneLine(line, 40)}” is no NAME=value.`);
        env[line.slice(0, place).trim()] = line.slice(place + 1);
    }
    return env;
}

/**
 * @param {Agent} agent
 * @param {string | null} defaultId
 */
function stateOf(agent, defaultId) {
    // The container begins with the agent's id, which stands above it.
    if (isMissing(agent)) return oneLine(agent.error?.replace(`${agent.id}: `, ""), 300);
    const words = [entryOf(WORDS, agent.status) ?? oneLine(agent.status ?? "unknown", 40)];
    if (agent.id === defaultId) words.push("default");
    if (agent.requiresAuth && agent.authenticated) words.push("account connected");
    if (agent.requiresAuth && !agent.authenticated && agent.status !== "auth_required") words.push("no account");
    if (agent.error) words.push(oneLine(agent.error, 200));
    return words.join(" · ");
}
