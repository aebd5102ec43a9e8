--- names.lua - where each public name leads: functions, methods, modules, classes and errors.
local reference = require "reference"

local names = {}
names.__index = names

-- What means something else when it stands alone: Lua's own, and words that are options more often than functions.
local PLAIN = { coroutine = true, table = true, string = true }

local function add(self, name, href, kind, summary, title)
  local item = { name = name, href = href, kind = kind, summary = summary, title = title or name }
  if not self.by_name[name] then
    self.by_name[name] = item
    table.insert(self.list, item)
  end
  return item
end

--- "fs.remove" on the page of asyncio.fs → "asyncio.fs.remove"; a method keeps its name.
function names.public(entry)
  local module = entry.page.name
  if entry.page.is_class then return entry.name end
  if module == "asyncio" then return "asyncio." .. entry.name end
  return module .. "." .. entry.name:match "[^.]*$"
end

--- What is found by the pages of the reference, and `errors`: a list of `name`, `page`, `text`.
function names.new(pages, order, errors)
  local self = setmetatable({ by_name = {}, list = {} }, names)
  for _, page_name in ipairs(order) do
    local page = pages[page_name]
    local href = names.page(page_name)
    add(self, page_name, href, page.is_class and "class" or "module", reference.summary(page.text))
    for _, entry in ipairs(page.functions) do
      local public = names.public(entry)
      entry.href = href .. "#" .. entry.name
      entry.public = public
      add(self, public, entry.href, page.is_class and "method" or "function", reference.summary(entry.text))
    end
  end
  for _, class in ipairs(errors) do
    add(self, class.name, "errors.html#" .. class.name, "error", reference.summary(class.text))
  end
  return self
end

--- The file of a page of the reference.
function names.page(name) return (name == "Error" and "errors" or name) .. ".html" end

function names:add(...) return add(self, ...) end

--- Where a name leads that stands in a text or in code: `asyncio.sleep(1)`, `Queue:get`, `TimeoutError`; on a class's
-- page its methods, too, by their names alone. nil: it is no name of ours.
function names:find(text, page)
  local name = text:match "^[%w_.:]+"
  local rest = name and text:sub(#name + 1)
  if not name or name == "asyncio" or not (rest == "" or rest:find "^%s*[({\"]") then return nil end
  local item = self.by_name[name]
  if not item and name:find "^asyncio%." then item = self.by_name[name:match "^asyncio%.(%u%w*)$" or ""] end
  if not item and page then
    item = page.is_class and self.by_name[page.name .. ":" .. name] or self.by_name[page.name .. "." .. name]
  end
  local telling = name:find "_" or name:find "%." or page and page.name == "asyncio"
  if not item and telling and not _G[name] and not PLAIN[name] then item = self.by_name["asyncio." .. name] end
  return item and item.href
end

return names
