--- html.lua - text as HTML.
local html = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

function html.escape(text) return (text:gsub('[&<>"]', ENTITIES)) end

--- `text` in a link; without `href` as it is.
function html.link(href, text) return href and ('<a href="%s">%s</a>'):format(html.escape(href), text) or text end

--- What is left of HTML of ours without its tags.
function html.plain(text)
  return (text:gsub("<[^>]*>", ""):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&quot;", '"'):gsub("&amp;", "&"))
end

--- A heading's anchor, as those who show Markdown make it: links between guides hold everywhere.
function html.anchor(heading) return (heading:lower():gsub("[^%w_%- ]", ""):gsub(" ", "-")) end

return html
