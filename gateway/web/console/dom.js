/** Elements, made one by one: the console never turns a string into HTML, and its policy forbids it. */

/** @import { Child, ElementOf, Properties, Value, View } from "./types.js" */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `h("button.primary", { type: "button", on: { click } }, "Send")`.
 *
 * A property that is a boolean is an attribute that is there or not; `on` has listeners; null and false are left out.
 *
 * @template {string} What
 * @param {What} what
 * @param {[(Properties | Child)?, ...Child[]]} rest
 * @returns {ElementOf<What>}
 */
export function h(what, ...rest) {
    const [name, ...classes] = what.split(".");
    const element = /** @type {ElementOf<What>} */ (document.createElement(name || "div"));
    return filled(element, classes, rest);
}

/**
 * The same for SVG.
 *
 * @param {string} what
 * @param {[(Properties | Child)?, ...Child[]]} rest
 */
export function s(what, ...rest) {
    const [name = "", ...classes] = what.split(".");
    return filled(document.createElementNS(SVG, name), classes, rest);
}

/**
 * @template {Element} Made
 * @param {Made} element
 * @param {string[]} classes
 * @param {[(Properties | Child)?, ...Child[]]} rest
 */
function filled(element, classes, [first, ...others]) {
    if (classes.length) element.classList.add(...classes);
    if (isProperties(first)) for (const [name, value] of Object.entries(first)) set(element, name, value);
    element.append(...nodes(isProperties(first) ? others : [first, ...others]));
    return element;
}

/**
 * @param {Child[]} nested
 * @returns {(Node | string)[]}
 */
function nodes(nested) {
    return nested.flatMap((child) => {
        if (Array.isArray(child)) return nodes(child);
        return child === null || child === undefined || child === false ? [] : [child];
    });
}

/**
 * @param {Properties | Child} value
 * @returns {value is Properties}
 */
function isProperties(value) {
    return value !== null && typeof value === "object" && !(value instanceof Node) && !Array.isArray(value);
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {Properties[string]} value
 */
function set(element, name, value) {
    if (value !== null && typeof value === "object") {
        for (const [type, listener] of Object.entries(value))
            element.addEventListener(type, /** @type {EventListener} */ (listener));
    } else if (name === "value" && "value" in element) {
        element.value = value;
    } else if (value === true) {
        element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
        element.setAttribute(name, String(value));
    }
}

/**
 * An element of index.html.
 *
 * @param {string} id
 */
export function byId(id) {
    const element = document.getElementById(id);
    if (!element) throw new Error(`The page has no #${id}.`);
    return element;
}

/**
 * Set an attribute, or take it away with null or false; nothing is touched that is so already.
 *
 * @param {Element} element
 * @param {string} name
 * @param {Value} value
 */
export function attribute(element, name, value) {
    const wanted =
        value === true ? "" : value === null || value === undefined || value === false ? null : String(value);
    if (element.getAttribute(name) === wanted) return;
    if (wanted === null) element.removeAttribute(name);
    else element.setAttribute(name, wanted);
}

/**
 * Set an element's text, unless it is that already: a selection in it stays.
 *
 * @param {Node | null} element
 * @param {string} value
 */
export function text(element, value) {
    if (element && element.textContent !== value) element.textContent = value;
}

/**
 * Show these children and no others; those that stay keep their focus, selection and scroll position.
 *
 * @param {Element} parent
 * @param {Node[]} wanted
 */
export function children(parent, wanted) {
    const keep = new Set(wanted);
    for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
    let place = parent.firstChild;
    for (const child of wanted) {
        if (child === place) place = place.nextSibling;
        else parent.insertBefore(child, place);
    }
}

/**
 * A list whose entries keep their elements for as long as they are in it.
 *
 * @template Shown
 */
export class Keyed {
    #parent;
    #create;
    /** @type {Map<unknown, View<Shown>>} */
    #views = new Map();

    /**
     * @param {Element} parent
     * @param {(entry: Shown) => View<Shown>} create
     */
    constructor(parent, create) {
        this.#parent = parent;
        this.#create = create;
    }

    /**
     * Show these and no others; those that are shown already are updated if `hasChanged(entry)`.
     *
     * @param {Shown[]} entries
     * @param {(entry: Shown) => unknown} keyOf
     * @param {(entry: Shown) => boolean} hasChanged
     */
    show(entries, keyOf, hasChanged = () => true) {
        const views = new Map();
        for (const entry of entries) {
            const key = keyOf(entry);
            const known = this.#views.get(key);
            const view = known ?? this.#create(entry);
            views.set(key, view);
            if (!known || hasChanged(entry)) view.update(entry);
        }
        this.#views = views;
        children(
            this.#parent,
            [...views.values()].map((view) => view.element),
        );
    }

    /** @param {unknown} key */
    get(key) {
        return this.#views.get(key);
    }
}

/**
 * Runs `work` once in the next animation frame, however often it is asked for.
 *
 * @param {() => void} work
 */
export function inNextFrame(work) {
    let asked = false;
    return () => {
        if (asked) return;
        asked = true;
        requestAnimationFrame(() => {
            asked = false;
            work();
        });
    };
}
