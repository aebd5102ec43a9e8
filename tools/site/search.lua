--- search.lua - what the search looks in: names with their first sentences, and the guides' sections with their words.
local html = require "html"

local search = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["<"] = "\\u003c", ["\t"] = " " }

local function quoted(text) return '"' .. text:gsub('["\\\n<\t%c]', function(c) return ESCAPES[c] or " " end) .. '"' end

--- A text once: its words, each one once, for who looks for them.
local function words_of(text)
  local seen, list = {}, {}
  for word in text:lower():gmatch "[%w_]+" do
    if not seen[word] and #word > 2 then
      seen[word] = true
      list[#list + 1] = word
    end
  end
  return table.concat(list, " ")
end

--- The sections of a page's HTML: `title`, `id`, and the words in it.
function search.sections(title, body)
  local list, section = {}, { title = title, from = 1 }
  local function finish(to)
    section.words = words_of(html.plain(body:sub(section.from, to)))
    list[#list + 1] = section
  end
  for from, level, id, heading, to in body:gmatch '()<h([2-4]) id="([^"]*)">(.-)</h%d>()' do
    finish(from - 1)
    heading = html.plain(heading:gsub("<a class=at.-</a>", "")):match "^%s*(.-)%s*$"
    section = { title = heading, id = id, from = to, level = level }
  end
  finish(#body)
  return list
end

--- The script that the pages load when somebody begins to type: a list of [name, kind, href, summary, words].
function search.script(names, sections)
  local rows = {}
  for _, item in ipairs(names.list) do
    rows[#rows + 1] = ("[%s,%s,%s,%s]"):format(quoted(item.name), quoted(item.kind), quoted(item.href),
      quoted((item.summary:gsub("`", ""))))
  end
  for _, section in ipairs(sections) do
    rows[#rows + 1] = ("[%s,%s,%s,%s,%s]"):format(quoted(section.title), '"guide"', quoted(section.href),
      quoted(section.guide), quoted(section.words))
  end
  return "window.manual=[\n" .. table.concat(rows, ",\n") .. "];\n"
end

return search
