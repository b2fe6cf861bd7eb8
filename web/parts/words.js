// Text that a person wrote: links, handles and tags are recognised, all else is plain text.
import { useMemo } from "preact/hooks";
import { segments } from "../text.js";
import { html } from "./html.js";

/** @import {Segment} from "../text.js" */

/** @param {Segment} segment */
function piece(segment) {
  switch (segment.kind) {
    case "link":
      return html`<a href=${segment.href} target="_blank" rel="noopener noreferrer nofollow ugc">${segment.text}</a>`;
    case "handle":
      return html`<a href=${`/@${segment.handle}`}>${segment.text}</a>`;
    case "tag":
      return html`<span class="tag">${segment.text}</span>`;
    case "text":
      return segment.text;
  }
}

/** @param {{text: string, class?: string}} props */
export function Words({ text, class: name = "words" }) {
  const pieces = useMemo(() => segments(text).map(piece), [text]);
  return html`<p class=${name} dir="auto">${pieces}</p>`;
}
