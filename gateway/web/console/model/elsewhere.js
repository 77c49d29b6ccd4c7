/** Large values of messages, which are read when somebody is to see them. */

/** @import { Message, Reference } from "../types.js" */

/** Stands in a message's JSON in the place of a large value. No agent can say what is one. */
export class Elsewhere {
    #read;

    /**
     * @param {Reference} reference
     * @param {unknown} beginning what a page has in its place
     * @param {(url: string) => Promise<Blob>} read
     */
    constructor({ url, mediaType, size }, beginning, read) {
        this.mediaType = mediaType;
        this.size = size;
        this.beginning = typeof beginning === "string" ? beginning : "";
        this.#read = () => read(url);
    }

    blob() {
        return this.#read();
    }

    async text() {
        return (await this.#read()).text();
    }

    /** Where it is a part of what is shown as JSON. */
    toJSON() {
        return `${this.beginning}… (${this.size.toLocaleString()} bytes)`;
    }
}

/**
 * Put an `Elsewhere` into each place of a message that a reference names.
 *
 * @param {Message} message
 * @param {(url: string) => Promise<Blob>} read
 */
export function pointElsewhere(message, read) {
    for (const reference of message.references ?? []) {
        const names = reference.path.split("/").slice(1).map(unescaped);
        const last = names.pop();
        /** @type {any} */
        let holder = message;
        for (const name of names) holder = valueIn(holder, name);
        if (last !== undefined && valueIn(holder, last) !== undefined)
            holder[last] = new Elsewhere(reference, holder[last], read);
    }
}

/**
 * @param {any} holder
 * @param {string} name
 */
function valueIn(holder, name) {
    const isThere = holder !== null && typeof holder === "object" && Object.hasOwn(holder, name) && name !== "__proto__";
    return isThere ? holder[name] : undefined;
}

/** @param {string} name as in a JSON pointer */
function unescaped(name) {
    return name.replaceAll("~1", "/").replaceAll("~0", "~");
}
