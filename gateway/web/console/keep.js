/** What this browser remembers; nothing where it may not. */

const PREFIX = "acp-gateway.";

/** @typedef {"localStorage" | "sessionStorage"} Where In this browser, or in this tab until it is closed. */

/**
 * @param {string} name
 * @param {Where} where
 */
export function remembered(name, where = "localStorage") {
    try {
        return window[where].getItem(PREFIX + name);
    } catch {
        return null;
    }
}

/**
 * Remember, or forget with null or nothing.
 *
 * @param {string} name
 * @param {string | null} value
 * @param {Where} where
 */
export function remember(name, value, where = "localStorage") {
    try {
        if (value) window[where].setItem(PREFIX + name, value);
        else window[where].removeItem(PREFIX + name);
    } catch {
        // It is full, or forbidden: then it lasts as long as the page.
    }
}
