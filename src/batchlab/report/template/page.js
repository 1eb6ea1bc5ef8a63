"use strict";
(() => {
  const { figures, dark } = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement, toast = document.getElementById("toast");
  const areas = [...document.querySelectorAll(".figure")];
  const system = matchMedia("(prefers-color-scheme: dark)"), print = matchMedia("print");
  let chosen = null; // a person's choice stands above the system's, until the page is closed

  const isDark = () => !print.matches && (chosen ?? system.matches);
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function coloured(trace) {
    const colour = isDark() ? dark[trace.meta.colour] ?? trace.meta.colour : trace.meta.colour;
    return {
      ...trace,
      line: { ...trace.line, color: colour },
      marker: { ...trace.marker, color: colour },
      fillcolor: trace.fill ? colour + "2e" : undefined,
      error_y: trace.error_y ? { ...trace.error_y, color: colour } : undefined,
    };
  }

  function layoutOf(figure) {
    const axis = (own) => ({ ...own, gridcolor: variable("--grid"), linecolor: variable("--axis"), tickcolor: variable("--axis") });
    return {
      ...figure.layout,
      xaxis: axis(figure.layout.xaxis),
      yaxis: axis(figure.layout.yaxis),
      font: { color: variable("--soft"), size: 13, family: getComputedStyle(document.body).fontFamily },
      legend: { ...figure.layout.legend, font: { color: variable("--text") } },
      hoverlabel: { bgcolor: variable("--card"), bordercolor: variable("--axis"), align: "left", font: { color: variable("--text"), size: 13 } },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      autosize: true,
    };
  }

  function draw(area) {
    const figure = figures[area.dataset.figure];
    const settings = { responsive: true, displaylogo: false, displayModeBar: false };
    return Plotly.react(area, figure.data.map(coloured), layoutOf(figure), settings).then(() => {
      if (area.dataset.bound) return;
      area.dataset.bound = "yes";
      area.on("plotly_click", (event) => {
        const command = event.points[0].customdata;
        if (command) copy(command);
      });
    });
  }

  // one at a time, so that the answer can be read and scrolled while figures are made; first those that are in view
  async function drawAll() {
    for (const area of areas) {
      if (area.getBoundingClientRect().top > innerHeight) root.dataset.open = "yes";
      await draw(area);
      await new Promise((resolve) => setTimeout(resolve));
    }
    root.dataset.open = root.dataset.ready = "yes";
  }

  function setTheme() {
    root.dataset.theme = isDark() ? "dark" : "light";
  }

  function redraw() {
    setTheme();
    areas.filter((area) => area.dataset.bound).forEach((area) => draw(area).then(() => Plotly.Plots.resize(area)));
  }

  async function copy(command) {
    try {
      await navigator.clipboard.writeText(command);
    } catch {
      const box = document.createElement("textarea");
      box.value = command;
      document.body.append(box);
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    toast.textContent = "Copied: " + command;
    toast.classList.add("shown");
    clearTimeout(copy.timer);
    copy.timer = setTimeout(() => toast.classList.remove("shown"), 3500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "theme") {
      chosen = !isDark();
      redraw();
    } else if (button.dataset.command) {
      copy(button.dataset.command);
    } else if (button.dataset.figure) {
      const section = button.closest("section"), area = section.querySelector(".figure");
      section.querySelectorAll(".switch button").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      area.dataset.figure = button.dataset.figure;
      draw(area);
    }
  });

  system.addEventListener("change", redraw);
  print.addEventListener("change", redraw);
  setTheme();
  drawAll();
})();
