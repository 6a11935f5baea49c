// Gives each text that is there to be copied a button that copies it. Without scripts it can be selected as any other.
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element); // a page without TLS has no clipboard
  document.execCommand("copy");
}
for (const element of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  const say = (word) => {
    button.textContent = word;
    button.setAttribute("aria-label", word + " " + (element.dataset.copy || element.textContent));
  };
  button.type = "button";
  button.className = "copy";
  say("copy");
  button.addEventListener("click", async () => {
    try {
      await copy(element);
      say("copied");
    } catch {
      say("select and copy");
    }
    setTimeout(say, 2000, "copy");
  });
  element.after(button);
}
