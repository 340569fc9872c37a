package dev.webinfer;

import dev.webinfer.v1.ChatMessage;
import dev.webinfer.v1.Image;
import dev.webinfer.v1.Part;

/** Makes messages of a conversation. */
public final class Messages {
  private Messages() {}

  /**
   * Makes a message that says how the model is to behave.
   *
   * @param text what is said
   * @return the message, with the role "system"
   */
  public static ChatMessage system(String text) {
    return message("system", text);
  }

  /**
   * Makes a message to the model.
   *
   * @param text what is said
   * @return the message, with the role "user"
   */
  public static ChatMessage user(String text) {
    return message("user", text);
  }

  /**
   * Makes a message to the model that shows pictures before it says something.
   *
   * @param text what is said
   * @param images what is shown
   * @return the message, with the role "user"
   */
  public static ChatMessage user(String text, Image... images) {
    ChatMessage.Builder message = ChatMessage.newBuilder().setRole("user");
    for (Image image : images) {
      message.addParts(Part.newBuilder().setImage(image));
    }
    return message.addParts(Part.newBuilder().setText(text)).build();
  }

  /**
   * Makes a message that the model gave before.
   *
   * @param text what it said
   * @return the message, with the role "assistant"
   */
  public static ChatMessage assistant(String text) {
    return message("assistant", text);
  }

  /**
   * Makes a message of any role.
   *
   * @param role who says it, as the model's template knows it
   * @param text what is said
   * @return the message
   */
  public static ChatMessage message(String role, String text) {
    return ChatMessage.newBuilder().setRole(role).addParts(Part.newBuilder().setText(text)).build();
  }
}
