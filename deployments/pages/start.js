// Starts Swagger UI on the document that the page names; a file of its own, as the pages run no script within them.
SwaggerUIBundle({
  url: document.getElementById("ui").dataset.document,
  dom_id: "#ui",
  deepLinking: true,
  validatorUrl: "none",
});
