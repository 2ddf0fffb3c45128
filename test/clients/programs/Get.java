import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Base64;

/** Arguments: the client, the URL, and whether the program proves itself to the proxy ("proves") or need not ("bound"). */
public class Get {
  static final String BEARER = "Bearer " + System.getenv("API_KEY");

  public static void main(String[] arguments) throws Exception {
    boolean proves = arguments[2].equals("proves");
    String[] credentials = URI.create(System.getenv("HTTPS_PROXY")).getUserInfo().split(":", 2);
    System.out.print(arguments[0].equals("HttpClient")
        ? withClient(arguments[1], proves ? credentials : null)
        : withConnection(arguments[1], proves ? credentials : null));
  }

  static String withConnection(String url, String[] credentials) throws Exception {
    if (credentials != null) {
      Authenticator.setDefault(new Authenticator() {
        @Override
        protected PasswordAuthentication getPasswordAuthentication() {
          if (getRequestorType() != RequestorType.PROXY) return null;
          return new PasswordAuthentication(credentials[0], credentials[1].toCharArray());
        }
      });
    }
    HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
    connection.setRequestProperty("Authorization", BEARER);
    return new String(connection.getInputStream().readAllBytes());
  }

  /** With an Authenticator set, JDK 17 drops the Authorization header of a request, so the credentials go as a header. */
  static String withClient(String url, String[] credentials) throws Exception {
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).header("Authorization", BEARER);
    if (credentials != null) {
      byte[] pair = String.join(":", credentials).getBytes();
      request.header("Proxy-Authorization", "Basic " + Base64.getEncoder().encodeToString(pair));
    }
    return HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString()).body();
  }
}
