/** The projects of who asks. */

/** @import { Api } from "../api.js" */
/** @import { Project, ProjectPage } from "../types.js" */

const AT_ONCE = 200;

export class Projects {
    /** @type {Project[]} */
    list = [];
    #api;

    /** @param {Api} api */
    constructor(api) {
        this.#api = api;
    }

    /** All of them, page by page. */
    async read() {
        const found = [];
        /** @type {string | null} */
        let after = "";
        while (after !== null) {
            const query = after && `&after=${encodeURIComponent(after)}`;
            /** @type {ProjectPage} */
            const page = await this.#api.get(`/api/projects?limit=${AT_ONCE}${query}`);
            found.push(...page.projects);
            after = page.next;
        }
        this.list = found;
    }

    /**
     * One that is there no more, or that its member has lost.
     *
     * @param {string} id
     */
    forget(id) {
        this.list = this.list.filter((project) => project.id !== id);
    }

    /** @param {string | null} id */
    get(id) {
        return this.list.find((project) => project.id === id);
    }

    /**
     * The one to show where nobody names one: `id` where it is one, else the first.
     *
     * @param {string | null} id
     */
    preferred(id) {
        return this.get(id) ?? this.list[0];
    }
}
