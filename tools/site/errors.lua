--- errors.lua - the classes of errors: read from the comments that list them, and by whom each is raised.
local html = require "html"

local errors = {}

--- The classes in a list of "- `Name`: text", those below another one indented further.
local function listed(text, prefix)
  local list, above, current = {}, {}, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local indent, name, words = line:match "^( *)%- `(%u%w*)`: (.*)$"
    if name then
      current = { name = name, public = prefix .. name, depth = #indent // 2, text = words }
      current.super = above[current.depth - 1]
      above[current.depth] = current
      list[#list + 1] = current
    elseif current and line:find "^ +%S" then
      current.text = current.text .. "\n" .. line:match "%S.*"
    else
      current = nil
    end
  end
  return list
end

--- The text without the list of classes.
function errors.without_list(text)
  local lines, inside = {}, false
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if line:find "^ *%- `%u%w*`: " then
      inside = true
    elseif not line:find "^ " then
      inside = false
    end
    if not inside then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

--- What is said of an entry, but its examples.
local function words_of(entry)
  local words = { entry.text }
  for _, param in ipairs(entry.params) do words[#words + 1] = param.text end
  for _, value in ipairs(entry.returns) do words[#words + 1] = (value.type or "") .. " " .. value.text end
  for _, text in ipairs(entry.raises) do words[#words + 1] = text end
  return table.concat(words, "\n")
end

-- They tell of errors that others raise, or take and make some.
local TELL_OF_OTHERS = { pcall = true, xpcall = true, traceback = true, isinstance = true, type = true,
  ["Error:subclass"] = true, ["ExceptionGroup:split"] = true, ["ExceptionGroup:subgroup"] = true }

--- Adds an entry, or a page, to the classes that `text` names; `Error` alone is any error.
local function note(by_name, text, raiser)
  local seen = {}
  for name in text:gmatch "%u%w+" do
    local class = by_name[name]
    if class and not seen[name] and (name ~= "Error" or text:find "[Rr]aises an? Error" or text:find "is an Error") then
      seen[name] = true
      table.insert(class.raised_by, raiser)
    end
  end
end

--- Fills `raised_by` of each class: entries, and modules that say it of all of theirs, in the pages' order.
local function find_raisers(list, pages, order)
  local by_name = {}
  for _, class in ipairs(list) do by_name[class.name], class.raised_by = class, {} end
  for _, name in ipairs(order) do
    local page = pages[name]
    if not page.is_class then
      note(by_name, errors.without_list(page.text), { public = name, href = name .. ".html" })
    end
    for _, entry in ipairs(page.functions) do
      if not TELL_OF_OTHERS[entry.name] then note(by_name, words_of(entry), entry) end
    end
  end
end

--- All classes, in the order of their lists: a module that has some says "The errors are classes …" before its own.
-- Each with `name`, `public`, `text`, `super`, `raised_by`.
function errors.read(pages, order)
  local list, place = listed(pages.Error.text, "asyncio."), 2
  local root = list[1]
  while list[place].depth > 0 do place = place + 1 end -- what comes then is not below it
  for _, name in ipairs(order) do
    local has_list = pages[name].text:find "The%s+errors%s+are%s+classes"
    for _, class in ipairs(has_list and listed(pages[name].text, name .. ".") or {}) do
      class.depth, class.super = class.depth + 1, class.super or root
      table.insert(list, place, class)
      place = place + 1
    end
  end
  find_raisers(list, pages, order)
  return list
end

local function raisers_of(class)
  local links = {}
  for i, entry in ipairs(class.raised_by) do
    links[i] = html.link(entry.href, "<code>" .. html.escape(entry.public) .. "</code>")
  end
  return links[1] and "<dl><dt>raised by</dt><dd>" .. table.concat(links, ", ") .. "</dd></dl>\n" or ""
end

local function tree_of(list)
  local out, depth = {}, -1
  for _, class in ipairs(list) do
    if class.depth > depth then out[#out + 1] = "<ul>" end
    for _ = class.depth + 1, depth do out[#out + 1] = "</li></ul>" end
    if class.depth <= depth then out[#out + 1] = "</li>" end
    out[#out + 1] = ('<li><a href="#%s"><code>%s</code></a>'):format(class.name, class.name)
    depth = class.depth
  end
  for _ = 0, depth do out[#out + 1] = "</li></ul>" end
  return table.concat(out)
end

--- The page's own part: the classes as a tree, then each with its text and who raises it.
function errors.render(list, page)
  local out = { "<h2 id=classes>Classes</h2>\n<div class=tree>", tree_of(list), "</div>\n" }
  for _, class in ipairs(list) do
    local above = class.super and class.super.name
    above = above and (' <small>below <a href="#%s">%s</a></small>'):format(above, above)
    out[#out + 1] = ('<section id="%s">\n<h3><a class=at href="#%s" aria-label="link">#</a><code>%s</code>%s</h3>\n')
      :format(class.name, class.name, class.public, above or "")
    out[#out + 1] = page:render(class.text:gsub("^%l", string.upper)) .. raisers_of(class) .. "</section>\n"
  end
  return table.concat(out)
end

return errors
