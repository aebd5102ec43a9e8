--- layout.lua - what stands around every page: head, search, menu, foot.
local html = require "html"
local plan = require "plan"

local layout = {}

local PAGE = [[
<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>%s</title>
<link rel=stylesheet href=site.css>
<script defer src=site.js></script>
</head>
<body>
<header>
<a class=menu href="#nav" aria-label="Menu">☰</a>
<a class=home href=index.html>asyncio <small>for Lua · %s</small></a>
<form class=search role=search hidden>
<input id=find type=search placeholder="Search ( / )" aria-label="Search" autocomplete=off autocapitalize=off
 spellcheck=false>
<ul id=found hidden></ul>
</form>
</header>
<nav id=nav>
<a class=close href="#" aria-label="Close">✕</a>
%s</nav>
<main>
%s<footer>lua-asyncio %s · made of its guides and the comments in its sources</footer>
</main>
</body>
</html>
]]

local function item(title, href, current)
  return ('<a href="%s"%s>%s</a>\n'):format(href, href == current and " aria-current=page" or "", html.escape(title))
end

--- The menu; `guides`: the lists of other guides, each of { title, href }.
local function menu(site, current)
  local out = { item("Overview", "index.html", current) }
  for _, entry in ipairs(site.ways_in) do out[#out + 1] = item(entry[1], entry[2], current) end
  out[#out + 1] = "<h2>What it can do</h2>\n"
  for _, capability in ipairs(plan.capabilities) do
    out[#out + 1] = item(capability.title, capability.id .. ".html", current)
  end
  out[#out + 1] = "<h2>Reference</h2>\n"
  for _, name in ipairs(site.modules) do
    out[#out + 1] = item(name:gsub("^asyncio%.", ""), name .. ".html", current)
  end
  out[#out + 1] = item("All names", "index.html#all", current)
  out[#out + 1] = "<h2>More</h2>\n"
  for _, entry in ipairs(site.more) do out[#out + 1] = item(entry[1], entry[2], current) end
  return table.concat(out)
end

--- A whole page. `current`: the page in the menu that it belongs to.
function layout.page(site, title, body, current)
  return PAGE:format(html.escape(title == "asyncio for Lua" and title or title .. " · asyncio for Lua"), site.version,
    menu(site, current), body, site.version)
end

return layout
