/** Connecting an account for an agent: in the browser, with a code, by a key, or the agent's own way. */

import { h, text } from "../dom.js";
import { icon } from "../icons.js";
import { entryOf } from "../table.js";
import { safeAddress } from "../text/markdown.js";
import { honest, oneLine } from "../text/plain.js";
import { duration, exactly } from "../text/times.js";
import { copyButton } from "./copy.js";
import { field, form, openDialog } from "./dialog.js";
import { announce, messageOf } from "./notices.js";

/** @import { AuthCalls } from "../model/calls.js" */
/** @import { AuthStatus, LoginBegun, LoginWay } from "../types.js" */

const POLL_MS = 2000;
/** @type {Record<string, (way: { providerName?: string }) => string>} */
const FLOWS = {
    pkce: ({ providerName }) => `Connect at ${providerName ?? "the provider"}`,
    device: ({ providerName }) => `Connect at ${providerName ?? "the provider"} with a code`,
    api_key: () => "Connect with an API key",
    paste_token: () => "Connect with a token",
    agent: () => "Connect by the agent's own login",
};
/** @type {Record<string, string>} */
const ENDS = {
    denied: "The login was refused.",
    expired: "The login took too long.",
    failed: "The login did not work.",
};
const KINDS = { api_key: "API key", oauth: "Account", token: "Token" };

/**
 * Open it; its promise is kept when it is closed.
 *
 * @param {string} agentName
 * @param {AuthCalls} auth
 */
export function openConnect(agentName, auth) {
    const dialog = new Connect(agentName, auth);
    return dialog.open();
}

class Connect {
    #name;
    #auth;
    #body = h("div.connect", h("p", { role: "status" }, "Loading…"));
    /** @type {number | undefined} */
    #timer;
    #isOpen = true;
    #close = () => {};

    /**
     * @param {string} name
     * @param {AuthCalls} auth
     */
    constructor(name, auth) {
        this.#name = oneLine(name, 80);
        this.#auth = auth;
    }

    async open() {
        const closed = openDialog(`${this.#name}: account`, (close) => {
            this.#close = close;
            return this.#body;
        });
        this.#choose();
        await closed;
        this.#isOpen = false;
        clearTimeout(this.#timer);
    }

    /** What is there, and the ways to connect an account. */
    async #choose() {
        clearTimeout(this.#timer);
        try {
            const status = await this.#auth.status();
            this.#show(
                accountView(status, () => this.#disconnect()),
                endView(status),
                this.#ways(status),
            );
        } catch (problem) {
            this.#fail(problem);
        }
    }

    /** @param {AuthStatus} status */
    #ways({ ways, credential }) {
        const title = credential ? "Connect again, or another account" : "How do you want to connect your account?";
        const buttons = ways.map((way) =>
            h(
                "button.way",
                { type: "button", on: { click: () => this.#begin(way) } },
                icon(way.flow === "api_key" || way.flow === "paste_token" ? "key" : "globe"),
                h(
                    "span.way-words",
                    oneLine(entryOf(FLOWS, way.flow)?.(way) ?? way.flow, 80),
                    way.asks ? h("span.about", oneLine(way.asks, 120)) : null,
                ),
            ),
        );
        return h("div.ways", h("h3", title), buttons);
    }

    /** @param {LoginWay} way */
    async #begin(way) {
        if (way.tokenType) {
            this.#askForToken(way, way.tokenType);
            return;
        }
        try {
            const begun = await this.#auth.start({ flow: way.flow, ...(way.provider && { provider: way.provider }) });
            const provider = begun.provider ?? way.provider;
            if (begun.tokenType) this.#askForToken({ ...way, provider }, begun.tokenType);
            else this.#follow(begun, way);
        } catch (problem) {
            this.#fail(problem);
        }
    }

    /**
     * @param {LoginWay} way
     * @param {string} tokenType
     */
    #askForToken({ asks, provider }, tokenType) {
        const input = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false" });
        const label = asks ? `${asks.charAt(0).toUpperCase()}${asks.slice(1)}` : "Key or token";
        this.#show(
            form(
                "Keep it",
                field(oneLine(label, 120), input, "It is stored sealed. Nobody is shown it again, you included."),
                async () => {
                    await this.#auth.token({ token: input.value.trim(), tokenType, ...(provider && { provider }) });
                    this.#done();
                },
            ),
            this.#back(),
        );
        input.focus();
    }

    /**
     * A login that has begun: what its person must do, and what becomes of it meanwhile.
     *
     * @param {LoginBegun} login
     * @param {LoginWay} way
     */
    #follow(login, way) {
        const left = h("span.about");
        const waits = h("p.waits", h("span.spinner"), h("span", "Waiting for you to finish there"), left);
        const said = login.message ? h("p", honest(login.message)) : null;
        /** @type {(HTMLElement | null)[]} */
        const parts = [said, ...placeParts(login), waits];
        if (login.pasteBack || login.flow === "agent") parts.push(this.#pasteBack(login));
        this.#show(...parts, this.#back());
        const pace = Math.max(POLL_MS, (login.interval ?? 0) * 1000);
        const look = async () => {
            if (login.expiresAt) text(left, ` · ${duration(Date.parse(login.expiresAt) - Date.now())} left`);
            if (await this.#isOver(login)) return;
            if (this.#isOpen) this.#timer = setTimeout(look, pace);
        };
        this.#timer = setTimeout(look, pace);
        const first = this.#body.querySelector("a, button");
        if (first instanceof HTMLElement) first.focus();
        announce(
            login.userCode
                ? `Enter the code ${login.userCode.split("").join(" ")}`
                : `${entryOf(FLOWS, way.flow)?.(way) ?? "Connect"}: a page opens in a new tab.`,
        );
    }

    /** @param {LoginBegun} login */
    async #isOver(login) {
        let status;
        try {
            status = await this.#auth.status();
        } catch {
            return false; // asked again in a moment
        }
        if (!this.#isOpen) return true;
        if (status.state === "pending") return false;
        if (login.loginId && status.login && status.login.id !== login.loginId) return false;
        if (status.state === "authorized") this.#done();
        else this.#show(endView(status), this.#ways(status));
        return true;
    }

    /** @param {LoginBegun} login */
    #pasteBack(login) {
        const input = h("input", { required: true, autocomplete: "off", spellcheck: "false" });
        const about =
            login.flow === "agent"
                ? "What the agent's page gave you, if it gave you something."
                : "The page ends with a code, or at an address: paste the code, or the whole address.";
        return form("Finish", field("What the page ended with", input, about), async () => {
            try {
                await this.#auth.callback({ code: input.value.trim() });
            } catch (problem) {
                // A code that does not hold may have ended the login: then that is what is said.
                if (await this.#isOver(login)) return;
                throw problem;
            }
            if (!(await this.#isOver(login))) throw new Error("That is not all yet: finish the login on the page.");
        });
    }

    async #disconnect() {
        try {
            const { revocation } = await this.#auth.disconnect();
            announce(revocation?.message ?? "Disconnected.");
        } catch (problem) {
            this.#fail(problem);
            return;
        }
        this.#choose();
    }

    #done() {
        announce(`Your account for ${this.#name} is connected.`);
        this.#close();
    }

    #back() {
        return h("button.quiet", { type: "button", on: { click: () => this.#choose() } }, icon("back"), "Another way");
    }

    /** @param {unknown} problem */
    #fail(problem) {
        this.#show(h("p.form-problem", { role: "alert" }, messageOf(problem)), this.#back());
    }

    /** @param {(HTMLElement | null)[]} parts */
    #show(...parts) {
        clearTimeout(this.#timer);
        this.#body.replaceChildren(...parts.filter((part) => part !== null));
    }
}

/** @param {LoginBegun} login */
function placeParts({ authorizeUrl, verificationUri, verificationUriComplete, userCode }) {
    const address = safeAddress(verificationUriComplete ?? authorizeUrl ?? verificationUri);
    const parts = [];
    if (userCode) {
        parts.push(
            h("p", "Enter this code there:"),
            h(
                "div.user-code",
                h("code", { "aria-label": userCode.split("").join(" ") }, honest(userCode)),
                copyButton("Copy the code", () => userCode, { withLabel: true }),
            ),
        );
    }
    if (address) {
        const { host } = new URL(address);
        parts.push(
            h(
                "div.form-actions",
                h(
                    "a.button.primary",
                    { href: address, target: "_blank", rel: "noopener noreferrer" },
                    icon("globe"),
                    `Open ${host}`,
                ),
                copyButton("Copy the address", () => address, { withLabel: true }),
            ),
            h("p.about", "It opens in a new tab. You can also open it on another device."),
        );
    }
    return parts;
}

/**
 * @param {AuthStatus} status
 * @param {() => void} disconnect
 */
function accountView({ credential, state }, disconnect) {
    if (!credential) return null;
    const { tokenType, provider, subject, fingerprint, expiresAt, renewable, reason } = credential;
    const kind = entryOf(KINDS, tokenType) ?? tokenType;
    /** @type {[string, string | null][]} */
    const rows = [["Kind", provider ? `${kind} at ${provider}` : kind]];
    if (subject) rows.push(["Account", subject]);
    rows.push(["Fingerprint", fingerprint]);
    if (expiresAt) rows.push([renewable ? "Renewed before" : "Ends", exactly(expiresAt)]);
    const lapsed = state === "needs_reauth" || credential.state === "needs_reauth";
    return h(
        "section.account",
        lapsed ? h("p.form-problem", `Connect it again: ${reason ? honest(reason) : "it can be used no more."}`) : null,
        h(
            "dl.facts",
            rows.map(([name, value]) => [h("dt", name), h("dd", h("bdi", oneLine(value ?? "—", 120)))]),
        ),
        h("button.danger-text", { type: "button", on: { click: disconnect } }, "Disconnect"),
    );
}

/** @param {AuthStatus} status */
function endView({ state, login }) {
    const end = entryOf(ENDS, state);
    if (!end) return null;
    return h("p.form-problem", { role: "alert" }, honest([end, login?.title, login?.detail].filter(Boolean).join(" ")));
}
