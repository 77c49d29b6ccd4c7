/** Elements, made one by one: the console never turns a string into HTML, and its policy forbids it. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `h("button.primary", { type: "button", on: { click } }, "Send")`.
 *
 * A property that is a boolean is an attribute that is there or not; `on` has listeners; null and false are left out.
 */
export function h(what, ...rest) {
    const [name, ...classes] = what.split(".");
    return filled(document.createElement(name || "div"), classes, rest);
}

/** The same for SVG. */
export function s(what, ...rest) {
    const [name, ...classes] = what.split(".");
    return filled(document.createElementNS(SVG, name), classes, rest);
}

function filled(element, classes, rest) {
    if (classes.length) element.classList.add(...classes);
    const properties = isProperties(rest[0]) ? rest.shift() : {};
    for (const [name, value] of Object.entries(properties)) set(element, name, value);
    element.append(...rest.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

function isProperties(value) {
    return value !== null && typeof value === "object" && !(value instanceof Node) && !Array.isArray(value);
}

function set(element, name, value) {
    if (name === "on") {
        for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (name === "value") {
        element.value = value;
    } else if (value === true) {
        element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
        element.setAttribute(name, String(value));
    }
}

/** Set an attribute, or take it away with null or false; nothing is touched that is so already. */
export function attribute(element, name, value) {
    const wanted =
        value === true ? "" : value === null || value === undefined || value === false ? null : String(value);
    if (element.getAttribute(name) === wanted) return;
    if (wanted === null) element.removeAttribute(name);
    else element.setAttribute(name, wanted);
}

/** Set an element's text, unless it is that already: a selection in it stays. */
export function text(element, value) {
    if (element.textContent !== value) element.textContent = value;
}

/** Show these children and no others; those that stay keep their focus, selection and scroll position. */
export function children(parent, wanted) {
    const keep = new Set(wanted);
    for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
    let place = parent.firstChild;
    for (const child of wanted) {
        if (child === place) place = place.nextSibling;
        else parent.insertBefore(child, place);
    }
}

/** A list whose entries keep their elements for as long as they are in it. */
export class Keyed {
    #parent;
    #create;
    #views = new Map();

    /** `create(entry)` gives `{ element, update(entry) }`. */
    constructor(parent, create) {
        this.#parent = parent;
        this.#create = create;
    }

    /** Show these and no others; those that are shown already are updated if `hasChanged(entry)`. */
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

    get(key) {
        return this.#views.get(key);
    }
}

/** Runs `work` once in the next animation frame, however often it is asked for. */
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
