-- build.lua OUT PAGES - the manual as a site, in the folder OUT: the guides, and the reference that tools/manual.lua
-- has made in the folder PAGES. It is run in the project's folder; `make doc` runs it by way of tools/doc.
local HERE = arg[0]:match "^(.*)/[^/]*$"
package.path = HERE .. "/?.lua;" .. HERE .. "/../?.lua;" .. package.path
local entries = require "entries"
local errors = require "errors"
local house = require "house"
local html = require "html"
local layout = require "layout"
local markdown = require "markdown"
local names = require "names"
local plan = require "plan"
local reference = require "reference"
local search = require "search"

local out, folder = assert(arg[1]), assert(arg[2], "usage: build.lua OUT PAGES")

--- What all pages share.
local site = { sections = {}, guides = {}, pictures = {} }

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function save(name, text)
  local file <close> = assert(io.open(out .. "/" .. name, "w"))
  assert(file:write(text))
end

-- Where links lead

--- "doc/../examples/x.lua" → "examples/x.lua"
local function normal(path)
  local n
  repeat
    path, n = path:gsub("[^/]+/%.%./", "", 1)
  until n == 0
  return (path:gsub("^%./", ""):gsub("/%./", "/"))
end

--- A function from the targets of a guide's links to hrefs. What is no page of ours leads to the project's files.
local function linker(guide)
  local base = guide:match "^(.*/)" or ""
  return function(target)
    if target:find "^%a+:" or target:find "^#" then return target end
    local path, anchor = target:match "^([^#]*)(.*)$"
    path = normal(base .. path)
    if path:find "^doc/pictures/" then
      site.pictures[path:match "[^/]*$"] = true
      return path:sub(#"doc/" + 1)
    end
    return (site.guides[path] or site.guides[path:gsub("/?$", "/README.md")] or site.root .. path) .. anchor
  end
end

--- A page to render texts for, of the reference if `subject` is one of its pages.
local function page_for(guide, subject)
  return markdown.page {
    root = site.root, link = linker(guide),
    name = function(code) return site.names:find(code, subject) end,
  }
end

local function note_sections(title, href, body)
  for _, section in ipairs(search.sections(title, body)) do
    section.guide = title
    section.href = section.id and href .. "#" .. section.id or href
    table.insert(site.sections, section)
  end
end

-- Capabilities: whose is what

local function has(list, value)
  for _, item in ipairs(list or {}) do
    if item == value then return true end
  end
  return false
end

--- The capability of a function of a module.
local function owner(entry)
  for _, capability in ipairs(plan.capabilities) do
    if has(capability.functions, entry.name) then return capability end
  end
  for _, capability in ipairs(plan.capabilities) do
    if has(capability.modules, entry.page.name) or has(capability.sections, entry.section) then return capability end
  end
end

--- The parts of the reference that a capability has: { title, href, entries }.
local function parts_of(capability)
  local parts, own = {}, { title = "asyncio", href = "asyncio.html", entries = {} }
  for _, entry in ipairs(site.reference.asyncio.functions) do
    if owner(entry) == capability then table.insert(own.entries, entry) end
  end
  if own.entries[1] then parts[1] = own end
  for _, name in ipairs(site.order) do
    local page = site.reference[name]
    local part = { title = name, href = names.page(name), entries = {} }
    if name ~= "asyncio" and not page.is_class then
      for _, entry in ipairs(page.functions) do
        if owner(entry) == capability then table.insert(part.entries, entry) end
      end
      if part.entries[1] or has(capability.modules, name) then parts[#parts + 1] = part end
    elseif has(capability.classes, name) then
      part.entries = page.functions
      parts[#parts + 1] = part
    end
  end
  return parts
end

local function names_of(part)
  local list = { ("<h3>%s</h3>\n<ul class=names>\n"):format(html.link(part.href, html.escape(part.title))) }
  for _, entry in ipairs(part.entries) do
    local label = entry.public:match(":(.*)$") or entry.public:match "[^.]*$"
    list[#list + 1] = ("<li>%s <span>%s</span></li>\n"):format(
      html.link(entry.href, "<code>" .. html.escape(label) .. "</code>"),
      page_for("doc/", entry.page):inline(reference.summary(entry.text)):gsub("</?a[^>]*>", ""))
  end
  list[#list + 1] = "</ul>\n"
  return table.concat(list)
end

--- What a guide's headings offer at its beginning; nothing where the guide has a list of its own.
local function contents_of(page, text)
  if text:find "\n[-*] %[[^\n]*%]%(#" then return "" end
  local list = {}
  for _, heading in ipairs(page.headings) do
    if heading.level == 2 then list[#list + 1] = html.link("#" .. heading.id, heading.html:gsub("</?a[^>]*>", "")) end
  end
  return #list > 2 and "<p class=contents>" .. table.concat(list, " · ") .. "</p>\n" or ""
end

--- A guide's HTML, with its contents below its first heading.
local function guide_body(path)
  local text = house.read(path)
  local page = page_for(path)
  local body = page:render(text)
  local contents = contents_of(page, text)
  return (body:gsub("</h1>\n", function(tag) return tag .. contents end, 1)),
    page.headings[1] and page.headings[1].text or path
end

local function write_capability(capability)
  local href = capability.id .. ".html"
  local body
  if exists(capability.guide) then
    body = guide_body(capability.guide)
  else
    local name = capability.modules and capability.modules[1] or capability.classes[1]
    local subject = site.reference[name]
    local page = page_for("doc/", subject)
    body = ("<h1>%s</h1>\n"):format(html.escape(capability.title)) .. page:render(errors.without_list(subject.text))
      .. entries.examples(subject, page)
  end
  if capability.id == "errors" then
    body = body .. errors.render(site.errors, page_for("doc/"))
    for _, entry in ipairs(site.reference.Error.functions) do
      body = body .. entries.render(entry, page_for("doc/", site.reference.Error))
    end
  end
  note_sections(capability.title, href, body)
  local beside = {}
  for _, part in ipairs(parts_of(capability)) do beside[#beside + 1] = names_of(part) end
  body = ('<div class=cols>\n<article class=body>\n%s</article>\n'
    .. "<aside class=beside><div>\n<h2>Reference</h2>\n%s</div></aside>\n</div>\n"):format(body, table.concat(beside))
  save(href, layout.page(site, capability.title, body, href))
end

local function write_guide(path, title)
  local href = site.guides[path]
  local body = guide_body(path)
  note_sections(title, href, body)
  save(href, layout.page(site, title, "<article class=body>\n" .. body .. "</article>\n", href))
end

-- The reference

local function capability_of(name)
  for _, capability in ipairs(plan.capabilities) do
    if has(capability.classes, name) or has(capability.modules, name) then return capability end
  end
end

--- The names on a page of the reference, by sections where it has some.
local function overview(page)
  if #page.functions < 3 then return "" end
  local list, section = {}, nil
  for _, entry in ipairs(page.functions) do
    if entry.section ~= section then
      section = entry.section
      list[#list + 1] = ("<dt>%s</dt><dd>"):format(html.escape(section))
    end
    list[#list + 1] = ('<a href="#%s"><code>%s</code></a>'):format(entry.name, entry.name:match "[^.:]*$")
  end
  local tag = section and "dl" or "p"
  return ("<%s>%s</%s>\n"):format(tag, table.concat(list, "\n"), tag)
end

local function write_reference(name)
  local subject = site.reference[name]
  local page, href = page_for("doc/", subject), names.page(name)
  local capability = capability_of(name)
  local body = { "<article class=body>\n" }
  if capability then
    body[#body + 1] = ("<p class=crumbs>%s › %s</p>\n"):format(
      html.link(capability.id .. ".html", html.escape(capability.title)), name)
  end
  body[#body + 1] = ("<h1>%s</h1>\n"):format(name)
  body[#body + 1] = page:render(subject.text) .. entries.examples(subject, page) .. overview(subject)
  local section
  for _, entry in ipairs(subject.functions) do
    if entry.section ~= section then
      section = entry.section
      body[#body + 1] = ('<h2 id="%s">%s</h2>\n'):format(html.anchor(section), html.escape(section))
    end
    body[#body + 1] = entries.render(entry, page)
  end
  body[#body + 1] = "</article>\n"
  local current = subject.is_class and capability and capability.id .. ".html" or href
  save(href, layout.page(site, name, table.concat(body), current))
end

-- The first page

local function card(title, href, words)
  return ('<li><a href="%s"><b>%s</b><span>%s</span></a></li>\n'):format(href, html.escape(title), html.escape(words))
end

--- All names, by the pages where they stand.
local function all_names()
  local list = {}
  local function group(title, href, items)
    list[#list + 1] = ("<div%s><h3>%s</h3>\n%s</div>\n"):format(#items > 16 and " class=long" or "",
      html.link(href, html.escape(title)), table.concat(items))
  end
  local sections, by_section = {}, {}
  for _, entry in ipairs(site.reference.asyncio.functions) do
    if not by_section[entry.section] then
      by_section[entry.section] = {}
      sections[#sections + 1] = entry.section
    end
    table.insert(by_section[entry.section], html.link(entry.href, entry.public))
  end
  for _, section in ipairs(sections) do group(section, "asyncio.html#" .. html.anchor(section), by_section[section]) end
  for _, name in ipairs(site.order) do
    local items = {}
    for i, entry in ipairs(site.reference[name].functions) do items[i] = html.link(entry.href, entry.public) end
    if name ~= "asyncio" and items[1] then group(name, names.page(name), items) end
  end
  local items = {}
  for i, class in ipairs(site.errors) do items[i] = html.link("errors.html#" .. class.name, class.public) end
  group("Errors", "errors.html", items)
  return table.concat(list)
end

--- The README up to its first heading of the second level: what it is, a program, how to get it.
local function beginning()
  local text = house.read "README.md"
  local page = page_for "README.md"
  local link = page.link
  function page.link(target) return target:find "^#" and site.guides["README.md"] .. target or link(target) end
  return page:render(text:match "^(.-)\n## ")
end

local function write_index()
  local cards, ways = {}, {}
  for i, capability in ipairs(plan.capabilities) do
    cards[i] = card(capability.title, capability.id .. ".html", capability.words)
  end
  for i, way in ipairs(site.ways_in) do ways[i] = html.link(way[2], html.escape(way[1])) end
  local body = ('<article class=body>\n%s<p>Ways in: %s.</p>\n<h2 id=can>What it can do</h2>\n'
    .. "<ul class=cards>\n%s</ul>\n</article>\n<h2 id=all>All names</h2>\n"
    .. "<div class=all>\n%s</div>\n"):format(beginning(), table.concat(ways, ", "),
      table.concat(cards), all_names())
  save("index.html", layout.page(site, "asyncio for Lua", body, "index.html"))
end

-- All of it

--- The order of the reference's pages: modules by their names, then classes.
local function order_of(pages)
  local modules, classes = {}, {}
  for _, name in ipairs(house.sorted_keys(pages)) do table.insert(pages[name].is_class and classes or modules, name) end
  site.modules = modules
  return table.move(classes, 1, #classes, #modules + 1, table.move(modules, 1, #modules, 1, {}))
end

local function href_of_guide(path)
  return (path:match "([^/]*)/README" or path:match "([^/]*)%.md$"):lower() .. ".html"
end

--- Whether there is a guide, or anything in the reference, of a capability.
local function is_there(capability)
  if exists(capability.guide) or capability.sections then return true end
  for _, list in ipairs { capability.modules or {}, capability.classes or {} } do
    for _, name in ipairs(list) do
      if site.reference[name] then return true end
    end
  end
  return false
end

local function leave_out_what_is_not_there()
  for i = #plan.capabilities, 1, -1 do
    if not is_there(plan.capabilities[i]) then table.remove(plan.capabilities, i) end
  end
end

--- All guides, and where they are: those of capabilities, the ways in, the rest.
local function collect_guides()
  site.guides = {}
  for _, capability in ipairs(plan.capabilities) do site.guides[capability.guide] = capability.id .. ".html" end
  local function listed(list)
    local items = {}
    for _, entry in ipairs(list) do
      if exists(entry[2]) then
        site.guides[entry[2]] = href_of_guide(entry[2])
        items[#items + 1] = { entry[1], site.guides[entry[2]], entry[2] }
      end
    end
    return items
  end
  site.ways_in, site.more = listed(plan.ways_in), listed(plan.more)
  for _, path in ipairs(house.lines "ls doc/*.md") do
    if not site.guides[path] and not plan.left_out[path] then
      site.guides[path] = href_of_guide(path)
      table.insert(site.more, { house.read(path):match "^# ([^\n]*)" or path, site.guides[path], path })
    end
  end
end

local function relative_root()
  return house.lines(("realpath --relative-to='%s' ."):format(out))[1] .. "/"
end

local function main()
  os.execute(("mkdir -p '%s'"):format(out))
  site.root = relative_root()
  site.version = house.read "lua/asyncio/init.lua":match '_VERSION = "lua%-asyncio ([^"]*)"'
  site.reference = reference.read(folder)
  site.order = order_of(site.reference)
  for _, page in pairs(site.reference) do
    for _, entry in ipairs(page.functions) do entry.public = names.public(entry) end
  end
  site.errors = errors.read(site.reference, site.order)
  site.names = names.new(site.reference, site.order, site.errors)
  for value, name in pairs(plan.values) do
    site.names:add("asyncio." .. value, "asyncio.html#" .. name, "value", "see asyncio." .. name)
  end
  leave_out_what_is_not_there()
  collect_guides()
  for _, capability in ipairs(plan.capabilities) do write_capability(capability) end
  for _, list in ipairs { site.ways_in, site.more } do
    for _, entry in ipairs(list) do write_guide(entry[3], entry[1]) end
  end
  for _, name in ipairs(site.order) do
    if name ~= "Error" then write_reference(name) end
  end
  write_index()
  save("search.js", search.script(site.names, site.sections))
  for _, name in ipairs { "site.css", "site.js" } do save(name, house.read(HERE .. "/" .. name)) end
  os.execute(("mkdir -p '%s/pictures'"):format(out))
  for name in pairs(site.pictures) do save("pictures/" .. name, house.read("doc/pictures/" .. name)) end
end

main()
