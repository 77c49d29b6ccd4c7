/** What the console uses of markdown-it. */

export interface Token {
    type: string;
    tag: string;
    nesting: 1 | 0 | -1;
    map: [number, number] | null;
    children: Token[] | null;
    content: string;
    info: string;
    hidden: boolean;
    attrGet(name: string): string | null;
}

export default class MarkdownIt {
    constructor(options: { html: boolean; linkify: boolean; breaks: boolean; maxNesting: number });
    parse(markdown: string, environment: object): Token[];
}
