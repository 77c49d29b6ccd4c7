/** A permission request: what the agent wants to do, and the agent's own options. */

import { attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { oneLine } from "../text/plain.js";
import { duration } from "../text/times.js";
import { json } from "./content.js";
import { complain } from "./notices.js";
import { toolParts } from "./tool.js";

const KINDS = {
    allow_once: ["primary", "allow, this once"],
    allow_always: ["", "allow, from now on"],
    reject_once: ["", "reject, this once"],
    reject_always: ["", "reject, from now on"],
};

/** What the gateway could not store with a request, being too long; see docs/api.md. */
const OMITTED = "acp-gateway/omitted";

/** The line in the transcript, which stays: what was asked, and what became of it. */
export function permissionView() {
    const outcome = h("span");
    const title = h("bdi");
    const element = h("p.item.note.permission-line", icon("key"), h("span", "Permission: ", title, " — ", outcome));
    const update = ({ permission, turn }) => {
        text(title, titleOf(permission));
        const open = permission.state === "waiting" && turn.endedAt;
        text(outcome, open ? "taken back" : outcomeOf(permission));
        attribute(element, "data-state", open ? "cancelled" : permission.state);
    };
    return { element, update };
}

/** The card that waits for an answer. */
export function permissionCard(permission, nameOfAgent, mayAnswer, answer) {
    const titleId = `asks-${permission.id}`;
    const expires = h("span.expires");
    const agentName = h("bdi");
    const buttons = optionsOf(permission).map((option) => optionButton(option, choose));
    const element = h(
        "article.permission-card",
        { "aria-labelledby": titleId, tabindex: -1, "data-permission": permission.id },
        h(
            "div.card-head",
            icon("key"),
            h("h2", { id: titleId }, agentName, " asks: ", h("bdi", titleOf(permission))),
            permission.toolCall?.kind
                ? h(
                      "span.tag",
                      { title: "The kind of tool, as the agent itself says" },
                      oneLine(permission.toolCall.kind, 30),
                  )
                : null,
        ),
        h("div.card-body", details(permission.toolCall)),
        mayAnswer
            ? h("div.card-options", ...buttons, expires)
            : h("p.about", "Your role in this project may not answer."),
    );
    async function choose(option) {
        if (element.hasAttribute("aria-busy")) return;
        element.setAttribute("aria-busy", "true");
        for (const button of buttons) button.setAttribute("aria-disabled", "true");
        try {
            await answer(permission.id, option.optionId);
        } catch (problem) {
            complain(problem.code === "permission_settled" ? settledBy(problem) : "The answer was not taken", problem);
            element.removeAttribute("aria-busy");
            for (const button of buttons) button.removeAttribute("aria-disabled");
        }
    }
    const update = ({ expiresAt }) => {
        text(agentName, oneLine(nameOfAgent(), 80));
        const left = expiresAt ? Date.parse(expiresAt) - Date.now() : null;
        text(expires, left === null ? "" : left > 0 ? `Refused by itself in ${duration(left)}` : "Its time is over");
    };
    return { element, update };
}

function optionButton(option, choose) {
    const [style, meaning] = Object.hasOwn(KINDS, option.kind) ? KINDS[option.kind] : ["", null];
    return h(
        `button${style ? `.${style}` : ""}`,
        { type: "button", title: meaning, "data-kind": option.kind, on: { click: () => choose(option) } },
        h("bdi", oneLine(option.name ?? option.optionId, 80)),
    );
}

/** An agent may ask in a form that no reader expects: who is asked must see it all the same. */
function details(call) {
    const omitted = call?._meta?.[OMITTED];
    const note = Array.isArray(omitted)
        ? h("p.about", `Too long to be shown here: ${oneLine(omitted.join(", "), 80)}. The transcript has it.`)
        : null;
    if (!call?.content?.length && (call?.rawInput ?? null) === null) return note;
    try {
        return [...toolParts(call), note];
    } catch {
        return json("What is asked for, and cannot be shown in its form", call);
    }
}

function optionsOf({ options }) {
    return (Array.isArray(options) ? options : []).filter((option) => option?.optionId !== undefined);
}

export function titleOf({ toolCall }) {
    return oneLine(toolCall?.title ?? toolCall?.toolCallId ?? "something", 300);
}

function outcomeOf(permission) {
    const { state, optionId } = permission;
    if (state === "waiting") return "waits for an answer";
    const name = optionsOf(permission).find((option) => option.optionId === optionId)?.name ?? optionId;
    const what = state === "selected" ? oneLine(name ?? "allowed", 80) : "refused";
    return `${what}${by(permission)}`;
}

function by({ state, resolvedBy, rule }) {
    if (!resolvedBy) return "";
    if (resolvedBy === "rule")
        return rule?.mode ? `, by the project's mode ${rule.mode}` : ", by a rule of the project";
    if (resolvedBy === "timeout") return ", as nobody answered in time";
    if (resolvedBy === "container") return ", by the container itself";
    if (resolvedBy === "gateway") return state === "selected" ? ", as the project's rules changed" : ", taken back";
    return `, by ${oneLine(resolvedBy, 80)}`;
}

function settledBy({ resolvedBy }) {
    return `${oneLine(resolvedBy ?? "Somebody", 80)} has answered already`;
}
