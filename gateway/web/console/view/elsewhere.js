/** Large values, which are read when they come into view, or when somebody asks for them. */

import { h } from "../dom.js";
import { complain } from "./notices.js";

/** @import { Elsewhere } from "../model/elsewhere.js" */

/**
 * A picture that is read once it is near.
 *
 * @param {Elsewhere} data
 * @param {HTMLImageElement} image
 */
export function whenNear(data, image) {
    image.classList.add("is-coming");
    const observer = new IntersectionObserver(
        async (entries) => {
            if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
            observer.disconnect();
            try {
                const address = URL.createObjectURL(await data.blob());
                const release = () => URL.revokeObjectURL(address);
                image.addEventListener("load", release, { once: true });
                image.addEventListener("error", release, { once: true });
                image.src = address;
            } catch (problem) {
                image.alt = `A picture that cannot be read: ${problem instanceof Error ? problem.message : problem}`;
            }
            image.classList.remove("is-coming");
        },
        { rootMargin: "300px" },
    );
    observer.observe(image);
    return image;
}

/**
 * `beginning`, with a button in whose place `show(texts)` comes.
 *
 * @param {Elsewhere[]} values
 * @param {HTMLElement | null} beginning
 * @param {(texts: string[]) => HTMLElement} show
 */
export function whenWanted(values, beginning, show) {
    const size = values.reduce((sum, value) => sum + value.size, 0);
    const button = h("button.quiet", { type: "button", on: { click } }, `Show all ${size.toLocaleString()} bytes`);
    const box = h("div", beginning, button);
    async function click() {
        button.disabled = true;
        try {
            box.replaceChildren(show(await Promise.all(values.map((value) => value.text()))));
        } catch (problem) {
            button.disabled = false;
            complain("It cannot be read", problem);
        }
    }
    return box;
}
