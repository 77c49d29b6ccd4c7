/** A project's agents: how each stands, and what can be done about it. */

import { Keyed, attribute, h, text } from "../dom.js";
import { oneLine } from "../text/plain.js";
import { field, form, openDialog } from "./dialog.js";
import { menu } from "./menu.js";
import { openConnect } from "./connect.js";
import { complain, hintFor, mention } from "./notices.js";

const WORDS = {
    stopped: "stopped",
    starting: "starting",
    running: "running",
    error: "failed",
    auth_required: "no account",
};

export class AgentsView {
    #project = null;
    #rows = h("ul.agents");
    #problem = h("div.side-problem", { hidden: true });
    #loading = h("p.side-empty", "Loading…");
    #list = new Keyed(this.#rows, () => this.#row());
    #missing = h("summary");
    #missingRows = h("ul.agents");
    #missingList = new Keyed(this.#missingRows, () => this.#row());
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
                  h("span", problem.message),
                  h("span", hintFor(problem) ?? ""),
              ]
            : [h("span", "The container is away; this is what it said last.")];
        this.#problem.replaceChildren(
            ...said,
            h("button.quiet.small", { type: "button", on: { click: () => project.agents.read() } }, "Ask again"),
        );
    }

    #row() {
        const name = h("bdi.agent-name");
        const state = h("span.agent-state");
        const dot = h("span.dot", { "aria-hidden": "true" });
        let agent;
        const element = h(
            "li.agent",
            dot,
            h("div.agent-words", name, state),
            menu("What to do with this agent", () => this.#entries(agent)),
        );
        const summary = element.querySelector("summary");
        const update = (given) => {
            agent = given;
            text(name, oneLine(agent.name ?? agent.id, 80));
            attribute(name, "title", agent.description && oneLine(agent.description, 300));
            text(state, stateOf(agent, this.#project));
            attribute(summary, "aria-label", `What to do with ${oneLine(agent.name ?? agent.id, 80)}`);
            element.dataset.state = agent.status;
            summary.parentElement.hidden = !this.#project.mayWork;
        };
        return { element, update };
    }

    #entries(agent) {
        const runs = agent.status === "running" || agent.status === "starting";
        return [
            !runs && !isMissing(agent) && { label: "Start", icon: "play", act: () => this.#spawn(agent) },
            !isMissing(agent) && { label: "Start with variables…", icon: "play", act: () => this.#spawnWith(agent) },
            {
                label: agent.requiresAuth && !agent.authenticated ? "Connect an account…" : "Account…",
                icon: "key",
                act: () => this.#connect(agent),
            },
            runs && { label: "Stop", icon: "stop", danger: true, act: () => this.#stop(agent) },
        ].filter(Boolean);
    }

    async #spawn(agent) {
        try {
            await this.#project.calls.spawn(agent.id);
            mention(`${oneLine(agent.name)} is starting`);
        } catch (problem) {
            complain(`${oneLine(agent.name)} was not started`, problem);
        }
        this.#project.agents.read();
    }

    async #connect(agent) {
        await openConnect(agent.name ?? agent.id, this.#project.calls.auth(agent.id));
        this.#project.agents.read();
    }

    #spawnWith(agent) {
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
                    await this.#project.calls.spawn(agent.id, {
                        env: parsed(variables.value),
                        ...(directory.value.trim() && { workingDirectory: directory.value.trim() }),
                    });
                    close();
                    this.#project.agents.read();
                },
            ),
        );
    }

    async #stop(agent) {
        try {
            await this.#project.calls.stop(agent.id);
        } catch (problem) {
            complain(`${oneLine(agent.name)} was not stopped`, problem);
        }
        this.#project.agents.read();
    }
}

/** Whether it cannot be started as it is; its error says what to do. */
export function isMissing({ status, error }) {
    return status === "stopped" && Boolean(error);
}

function parsed(lines) {
    const env = {};
    for (const line of lines.split("\n").filter((one) => one.trim())) {
        const place = line.indexOf("=");
        if (place < 1) throw new Error(`“${oneLine(line, 40)}” is no NAME=value.`);
        env[line.slice(0, place).trim()] = line.slice(place + 1);
    }
    return env;
}

function stateOf(agent, project) {
    // The container begins with the agent's id, which stands above it.
    if (isMissing(agent)) return oneLine(agent.error.replace(`${agent.id}: `, ""), 300);
    const words = [WORDS[agent.status] ?? oneLine(agent.status ?? "unknown", 40)];
    if (agent.id === project.agents.defaultId) words.push("default");
    if (agent.requiresAuth && agent.authenticated) words.push("account connected");
    if (agent.requiresAuth && !agent.authenticated && agent.status !== "auth_required")
        words.push("no account");
    if (agent.error) words.push(oneLine(agent.error, 200));
    return words.join(" · ");
}
