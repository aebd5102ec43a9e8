--- svg.lua - what our pictures share: the colours of the page of a trace, in the light and in the dark; texts, numbers.
local svg = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
function svg.escaped(text) return (text:gsub('[&<>"]', ENTITIES)) end

function svg.number(x) return (("%.1f"):format(x):gsub("%.0$", "")) end

--- The rules that define the colours, of which the page's style has the only list.
local function colours()
  local style = require "asyncio.page.style"
  return style:match ":root (%b{})", style:match "%(prefers%-color%-scheme: dark%) {%s*:root (%b{})"
end

--- A style sheet: the colours, and these rules.
function svg.styles(...)
  local light, dark = colours()
  local rules = { ":root ", light, "\n@media (prefers-color-scheme: dark) { :root ", dark, " }\n", ... }
  return (table.concat(rules):gsub("color%-scheme: light dark;%s*", ""))
end

--- A whole picture of these lines.
function svg.picture(width, height, title, styles, lines)
  return ([[
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">
<title>%s</title>
<style>
%s</style>
<rect width="%d" height="%d" class="back"/>
%s
</svg>
]]):format(width, height, width, height, svg.escaped(title), styles, width, height, table.concat(lines, "\n"))
end

--- Writes one into a folder.
function svg.save(folder, name, text)
  local file <close> = assert(io.open(("%s/%s.svg"):format(folder, name), "w"))
  assert(file:write(text))
end

return svg
